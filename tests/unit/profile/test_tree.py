"""Call trees hold every sample once."""

from __future__ import annotations

import re
from dataclasses import replace

from hypothesis import given, settings

from gprof.profile.profile import Guest, Profile
from gprof.profile.tree import Node, NodeKind, call_tree, inverted
from gprof.profile.view import Filter, tabulate
from gprof.sampling.source import SampleBatch
from tests.profiles import synthetic
from tests.unit.profile.test_view import profiles


def paths(tree: Node) -> dict[str, int]:
    return {
        ";".join(n.name for n in (*above[1:], node)): node.own
        for above, node in tree.walk()
        if node.own
    }


@settings(max_examples=40)
@given(profiles())
def test_weights_add_up_at_every_node(profile: Profile) -> None:
    tree = call_tree(profile)
    assert tree.total == tabulate(profile).weight
    for _, node in tree.walk():
        assert node.total == node.own + sum(child.total for child in node.children())


def test_stacks_make_a_tree_of_calls() -> None:
    found = paths(call_tree(synthetic(800, stacks=True)))
    idle = "secondary_startup_64_no_verify;cpu_startup_entry;do_idle;default_idle"
    assert found[idle] > 50
    assert found["[user]"] > 50
    assert any(path.endswith("filemap_read;copy_page_to_iter") for path in found)


def test_without_stacks_it_goes_by_mode_module_and_symbol() -> None:
    tree = call_tree(synthetic(800))
    assert {child.name for child in tree.children()} == {"kernel", "user", "idle"}
    found = paths(tree)
    assert found["idle;[kernel];default_idle"] > 50
    assert found["kernel;ext4;ext4_es_lookup_extent"] > 1
    assert found["kernel;blob;[blob]+0x1000"] > 1
    kinds = {node.name: node.kind for _, node in tree.walk()}
    assert kinds["default_idle"] is NodeKind.IDLE
    assert kinds["virtio_net"] is NodeKind.MODULE
    assert kinds["[unknown]"] is NodeKind.UNKNOWN


def test_guests_have_their_own_level_and_filters_hold() -> None:
    profile = synthetic(100, stacks=True)
    two = replace(profile, guests={**profile.guests, 1: Guest(1, "db\x1b[31m")})
    assert [child.name for child in call_tree(two).children()] == ["web1"]
    odd = replace(two, samples=SampleBatch.of([1], guest=1))
    assert [child.name for child in call_tree(odd).children()] == ["db\\x1b[31m"]
    chosen = Filter(pattern=re.compile("ext4"))
    assert call_tree(profile, chosen).total == tabulate(profile, chosen).weight
    assert call_tree(profile, chosen).total < 100


def test_inverted_begins_with_what_ran() -> None:
    profile = synthetic(500, stacks=True)
    turned = inverted(call_tree(profile))
    own: dict[tuple[str, str], int] = {}
    for row in tabulate(profile).rows:
        if row.self_weight:
            key = (row.label, row.module)
            own[key] = own.get(key, 0) + row.self_weight
    assert {(node.name, node.module): node.total for node in turned.children()} == own
    assert turned.total == sum(node.own for _, node in turned.walk()) == 500


def test_inverted_twice_is_the_same_tree() -> None:
    def lines(tree: Node) -> list[tuple[tuple[str, ...], int, int]]:
        return [
            (tuple(n.name for n in (*above, node)), node.own, node.total)
            for above, node in tree.walk()
        ]

    tree = call_tree(synthetic(500, stacks=True))
    assert lines(inverted(inverted(tree))) == lines(tree)
