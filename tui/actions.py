"""Everything that a key can do, in one table: bindings, footer and help are made from it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from textual.binding import Binding


@dataclass(frozen=True, slots=True)
class Action:
    """One thing that a person can do.

    Attributes:
        keys: the keys that do it, as Textual names them, separated by commas.
        call: the action method without its `action_`, with arguments where it takes some.
        label: one or two words for the footer.
        help: a sentence for the help screen; empty where another action's sentence covers it.
        shown: the keys as people read them.
        footer: it is worth a place in the footer of an 80 column terminal.
        priority: it comes before the focused widget.
    """

    keys: str
    call: str
    label: str
    help: str
    shown: str
    footer: bool = False
    priority: bool = False


@dataclass(frozen=True, slots=True)
class ActionGroup:
    """Actions that belong together, in the order in which the help lists them."""

    title: str
    actions: tuple[Action, ...]


APPLICATION = ActionGroup(
    "gprof",
    (
        Action("question_mark,f1", "help", "Help", "What every key does.", "? F1", footer=True),
        Action("q", "quit", "Quit", "Leave; the guest runs on.", "q  Ctrl+C", footer=True),
        Action("ctrl+c,ctrl+q", "quit", "Quit", "", "", priority=True),
    ),
)

TABLE = ActionGroup(
    "Moving",
    (
        Action("up,k", "cursor(-1)", "Up", "One row up or down.", "Up Down  k j"),
        Action("down,j", "cursor(1)", "Down", "", ""),
        Action("pageup", "page(-1)", "Page up", "One page up or down.", "PgUp PgDn"),
        Action("pagedown", "page(1)", "Page down", "", ""),
        Action("home,g", "first", "First", "The first or the last row.", "g G  Home End"),
        Action("end,G", "last", "Last", "", ""),
    ),
)

LOOKING = ActionGroup(
    "What is shown",
    (
        Action(
            "slash", "filter", "Filter",
            "Only samples whose symbol or module has this text, or matches /this expression/.",
            "/", footer=True,
            # Else a paste, or a fast hand on a slow line, loses what follows the slash: keys
            # are handed to the focused widget before the action of an earlier one has run.
            priority=True,
        ),
        Action("escape", "clear_filter", "Clear filter", "Remove the filter.", "Esc"),
        Action(
            "m", "next_group", "Group", "Rows by symbol, module, mode, vcpu.", "m", footer=True
        ),
        Action(
            "I", "toggle_mode('IDLE')", "Idle",
            "Show or hide idle samples. Hidden at first; the header states their share.",
            "I", footer=True,
        ),
        Action("u", "toggle_mode('USER')", "User", "Show or hide samples in user space.", "u"),
        Action(
            "K", "toggle_mode('KERNEL')", "Kernel", "Show or hide samples in the kernel.", "K"
        ),
        Action(
            "right_square_bracket", "vcpu(1)", "Next vcpu",
            "All vcpus, or one: the next, the one before.", "] [",
        ),
        Action("left_square_bracket", "vcpu(-1)", "Previous vcpu", "", ""),
        Action(
            "right_curly_bracket", "guest(1)", "Next guest",
            "Of several guests all, or one: the next, the one before.", "} {",
        ),
        Action("left_curly_bracket", "guest(-1)", "Previous guest", "", ""),
        Action(
            "enter", "choose", "Annotate", "The instructions of the symbol under the cursor.",
            "Enter", footer=True,
        ),
    ),
)  # fmt: skip

SORTING = ActionGroup(
    "Order",
    (
        *(
            Action(
                str(number + 1), f"sort({number})", "Sort",
                "" if number else "Sort by a column, counted from the left.",
                "" if number else "1 to 9",
            )
            for number in range(9)
        ),
        Action("greater_than_sign", "sort_next(1)", "Next column",
               "Sort by the next column, the one before.", "> <"),
        Action("less_than_sign", "sort_next(-1)", "Previous column", "", ""),
        Action("R", "reverse", "Reverse", "Turn the order around.", "R"),
    ),
)  # fmt: skip

TIME = ActionGroup(
    "Time",
    (
        Action(
            "space,z", "pause", "Pause",
            "Hold the table still, or let it go on. Sampling goes on all the while.",
            "Space z", footer=True,
        ),
        Action(
            "r", "reset", "Reset", "Forget the samples so far; a recording keeps them.", "r",
            footer=True,
        ),
        Action("plus,equals_sign", "interval(-1)", "Faster",
               "Look at the samples more often, less often.", "+ -"),
        Action("minus", "interval(1)", "Slower", "", ""),
    ),
)  # fmt: skip

LISTING = ActionGroup(
    "Instructions",
    (
        Action("enter", "follow", "Follow",
               "Where the instruction jumps, or what it calls.", "Enter", footer=True),
        Action("escape,backspace,left", "back", "Back",
               "Back to where you came from, at last to the table.", "Esc Backspace", footer=True),
        Action("H", "hottest", "Hottest", "The hottest instruction.", "H"),
        Action("tab", "hot(1)", "Next hot",
               "The next hottest instruction, the one before.", "Tab Shift+Tab", footer=True),
        Action("shift+tab", "hot(-1)", "Previous hot", "", ""),
        Action("s", "turn('sources')", "Source", "Show or hide the lines of source.", "s",
               footer=True),
        Action("f", "fold", "Fold",
               "Add samples up by line of source, by inlined function, by instruction.", "f",
               footer=True),
        Action("a", "turn('arrows')", "Arrows", "Show or hide the arrows of jumps.", "a"),
        Action("p", "measure('of_all')", "Of all", "Percent of the symbol, or of all.", "p"),
        Action("t", "measure('hits')", "By count",
               "Percent by weight (perf's period), or by count of samples.", "t"),
        Action("x", "syntax", "Syntax", "AT&T or Intel syntax.", "x"),
        Action("o", "turn('raw')", "Raw",
               "Names of addresses in operands, or operands as they are.", "o"),
        Action("b", "turn('encodings')", "Bytes", "Show or hide the instructions' bytes.", "b"),
        Action("O", "turn('offsets')", "Offsets", "Addresses, or offsets in the symbol.", "O"),
        Action("slash", "search", "Search", "Look for a text.", "/", footer=True,
               priority=True),
        Action("n", "seek(1)", "Next", "The next place of the text, the one before.", "n N"),
        Action("N", "seek(-1)", "Previous", "", ""),
    ),
)  # fmt: skip

#: What the help screen lists, in its order.
HELP = (LOOKING, SORTING, TIME, TABLE, LISTING, APPLICATION)


def bindings(*groups: ActionGroup) -> list[Binding]:
    """Textual's bindings of some groups."""
    return [_binding(action) for group in groups for action in group.actions]


def documented(groups: Iterable[ActionGroup] = HELP) -> Iterable[tuple[str, str, str]]:
    """Title of the group, keys as people read them, sentence: one for each line of the help."""
    for group in groups:
        for action in group.actions:
            if action.help:
                yield group.title, action.shown, action.help


def _binding(action: Action) -> Binding:
    return Binding(
        action.keys,
        action.call,
        action.label,
        show=action.footer,
        key_display=action.shown.split()[0] if action.footer else None,
        priority=action.priority,
    )
