"""Everything that a key can do, in one table: bindings, footer and help are made from it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from textual.binding import Binding

from tui.view import View


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
        Action("ctrl+p,colon", "command_palette", "Palette",
               "Find an action or a symbol by its name.", "Ctrl+P :"),
        Action("q", "quit", "Quit", "Leave; the guest runs on.", "q  Ctrl+C", footer=True),
        Action("ctrl+c,ctrl+q", "quit", "Quit", "", "", priority=True),
    ),
)  # fmt: skip

VIEWS = ActionGroup(
    "Views",
    (
        Action("t", "view('top')", "Top", "Symbols, modules and more by their samples.", "t"),
        Action("T", "view('tree')", "Tree", "Who calls whom, as a tree.", "T"),
        Action("f", "view('flame')", "Flame", "The same as a flame graph.", "f"),
        Action("x", "view('exits')", "Exits", "VM exits, where the source has them.", "x"),
        Action("s", "view('symbols')", "Symbols",
               "The images of the guest, and how well they are known.", "s"),
        Action("tab", "next_view(1)", "Next view", "The next view, the one before.",
               "Tab Shift+Tab"),
        Action("shift+tab", "next_view(-1)", "Previous view", "", ""),
        Action(
            "enter", "choose", "Annotate",
            "The instructions of the symbol under the cursor; in Flame, zoom.",
            "Enter", footer=True,
        ),
        Action("a", "annotate", "Annotate", "The instructions, in every view.", "a"),
    ),
)  # fmt: skip

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

FINDING = ActionGroup(
    "Finding",
    (
        Action(
            "ctrl+f,F", "find", "Find",
            "Mark what has this text in its name, or matches /this expression/.", "Ctrl+F F",
            priority=True,
        ),
        Action("n", "find_next(1)", "Next", "The next one that was found, the one before.", "n N"),
        Action("N", "find_next(-1)", "Previous", "", ""),
    ),
)  # fmt: skip

LOOKING = ActionGroup(
    "What is shown",
    (
        Action(
            "slash", "filter", "Filter",
            "Only samples with this text in a symbol or module of their stack, or that match "
            "/this expression/. symbol: module: task: vcpu: guest: mode: before it look only "
            "there, ! turns it round.",
            "/", footer=True,
            # Else a paste, or a fast hand on a slow line, loses what follows the slash: keys
            # are handed to the focused widget before the action of an earlier one has run.
            priority=True,
        ),
        Action("escape,backspace", "remove", "Remove",
               "Remove the newest filter; in Flame, zoom out first.", "Esc Backspace"),
        Action("X", "remove_all", "Remove all", "Remove every filter.", "X"),
        Action(
            "m", "next_group(1)", "Group", "What rows stand for: symbols, modules, modes and more.",
            "m M", footer=True,
        ),
        Action("M", "next_group(-1)", "Group before", "", ""),
        Action("i", "invert", "Invert",
               "Tree and Flame from what ran to its callers, or from the callers on.", "i"),
        Action(
            "I", "toggle_mode('IDLE')", "Idle",
            "Show or hide idle samples. Hidden at first; the header states their share.", "I",
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
            "Hold the view still, or let it go on. Sampling goes on all the while.",
            "Space z", footer=True,
        ),
        Action("p", "pick", "Period", "Pick a period of time; every view follows.", "p",
               footer=True),
        Action("w", "horizon", "Window",
               "Count everything, the last seconds only, or the older the less.", "w"),
        Action("left_parenthesis", "length(-1)", "Shorter",
               "A shorter window or half-life, a longer one.", "( )"),
        Action("right_parenthesis", "length(1)", "Longer", "", ""),
        Action("l", "live", "Live", "Back to now: no pause, no period.", "l"),
        Action(
            "r", "reset", "Reset", "Forget the samples so far; a recording keeps them.", "r",
        ),
        Action("plus,equals_sign", "interval(-1)", "Faster",
               "Look at the samples more often, less often.", "+ -"),
        Action("minus", "interval(1)", "Slower", "", ""),
    ),
)  # fmt: skip

TAKING = ActionGroup(
    "Taking away",
    (
        Action("e", "export", "Export",
               "Write what is shown to a file; its name says in which format.", "e", footer=True),
        Action("S", "save", "Save", "Write all samples so far as a recording.", "S"),
        Action("y", "copy('name')", "Copy", "Copy the name under the cursor, or its address.",
               "y Y"),
        Action("Y", "copy('address')", "Copy address", "", ""),
        Action("o", "edit", "Open", "Open the source line of the symbol in $EDITOR.", "o"),
    ),
)  # fmt: skip

PICKING = ActionGroup(
    "Picking a period",
    (
        Action("left,h", "step(-1)", "Move", "One bucket to the left or right.", "Left Right  h l",
               footer=True),
        Action("right,l", "step(1)", "Right", "", ""),
        Action("shift+left,H", "stretch(-1)", "Stretch left", "Stretch the period.",
               "Shift+arrows  H L"),
        Action("shift+right,L", "stretch(1)", "Stretch right", "", ""),
        Action("space,m", "mark", "Mark", "Begin the period here; once more to let go.", "Space m",
               footer=True),
        Action("home,g", "edge(0)", "Begin", "The beginning or the end of time.", "g G  Home End"),
        Action("end,G", "edge(1)", "End", "", ""),
        Action("enter,p", "keep", "Keep", "Keep it and go back.", "Enter p", footer=True),
        Action("escape,backspace", "drop", "All time", "Go back to all of the time.", "Esc",
               footer=True),
    ),
)  # fmt: skip

TREE = ActionGroup(
    "Tree",
    (
        Action("right", "open", "Open", "Show what is below; hide it.", "Right Left"),
        Action("left,h", "close", "Close", "", ""),
        Action("H", "hot_path", "Hot path", "Open the heaviest branch to its end.", "H",
               footer=True),
        Action("E", "open_all", "Open all", "Open everything below.", "E"),
        Action("C", "close_all", "Close all", "Close everything.", "C"),
    ),
)  # fmt: skip

FLAME = ActionGroup(
    "Flame",
    (
        Action("up,k", "level(-1)", "Up", "The frame above, below, at the left, at the right.",
               "Arrows"),
        Action("down,j", "level(1)", "Down", "", ""),
        Action("left,h", "beside(-1)", "Left", "", ""),
        Action("right", "beside(1)", "Right", "", ""),
        Action("home,g", "root", "Root", "Where everything begins.", "g Home"),
        Action("enter", "zoom", "Zoom", "Let the frame fill the width; Esc goes back.", "Enter",
               footer=True),
        Action("0", "zoom_reset", "Whole", "Show everything.", "0"),
        Action("v", "turn", "Turn", "The root above, or below.", "v", footer=True),
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
        Action("e", "edit", "Edit",
               "Open the line of source under the cursor in $EDITOR.", "e"),
        Action("slash", "search", "Search", "Look for a text.", "/", footer=True,
               priority=True),
        Action("n", "seek(1)", "Next", "The next place of the text, the one before.", "n N"),
        Action("N", "seek(-1)", "Previous", "", ""),
    ),
)  # fmt: skip

#: What the help screen lists, in its order.
HELP = (
    VIEWS, LOOKING, FINDING, SORTING, TIME, PICKING, TAKING, TABLE, TREE, FLAME, LISTING,
    APPLICATION,
)  # fmt: skip

#: What the palette offers; the rest moves a cursor, which has its keys.
PALETTE = (VIEWS, LOOKING, FINDING, TIME, TAKING, TREE, FLAME, APPLICATION)


def view_keys(views: Iterable[View]) -> list[tuple[View, str]]:
    """The key of each view."""
    keys = {action.call: action.shown for action in VIEWS.actions}
    return [(view, keys[f"view('{view}')"]) for view in views]


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
