"""Which symbol files are for which guest."""

from __future__ import annotations

from pathlib import Path

import pytest

from gprof.errors import UsageError
from gprof.given_symbols import GivenSymbols
from symbols.errors import SymbolsError

TEXT = 0xFFFF_FFFF_8100_0000


def kallsyms(path: Path, name: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{TEXT:x} T {name}\n{TEXT + 64:x} T last\n")
    return path


def modules(path: Path, name: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{name} 16384 0 - Live 0x{TEXT + 0x4000_0000:x}\n")
    return path


def told(given: GivenSymbols, pid: int | None) -> tuple[str | None, str | None]:
    """The kernel's first function and the first module for one guest."""
    sources = given.of_guest(pid)
    first = sources.kallsyms.kernel.names[0] if sources.kallsyms else None
    return first, sources.modules[0].name if sources.modules else None


def test_a_guest_s_own_files_come_before_those_of_all(tmp_path: Path) -> None:
    given = GivenSymbols.of(
        kallsyms=[
            str(kallsyms(tmp_path / "all", "everyone")),
            f"7={kallsyms(tmp_path / 'k', 'a')}",
        ],
        modules=[str(modules(tmp_path / "mods", "ext4"))],
    )
    assert told(given, None) == ("everyone", "ext4")
    assert told(given, 8) == ("everyone", "ext4")
    # What is of one boot goes together.
    assert told(given, 7) == ("a", None)
    assert given.pids == {7}
    assert given
    assert not GivenSymbols()


def test_files_are_opened_once(tmp_path: Path) -> None:
    given = GivenSymbols.of(kallsyms=[str(kallsyms(tmp_path / "all", "everyone"))])
    assert given.of_guest(1) is given.of_guest(2)


def test_a_mount_has_the_files_of_each_guest(tmp_path: Path) -> None:
    kallsyms(tmp_path / "7" / "proc" / "kallsyms", "a")
    modules(tmp_path / "7" / "proc" / "modules", "ext4")
    kallsyms(tmp_path / "8" / "proc" / "kallsyms", "b")
    given = GivenSymbols.of(
        kallsyms=[f"8={kallsyms(tmp_path / 'own', 'own')}", str(kallsyms(tmp_path / "all", "all"))],
        mount=tmp_path,
    )
    assert told(given, 7) == ("a", "ext4")
    assert told(given, 8) == ("own", None)  # given by name it counts more than the mount
    assert told(given, 9) == ("all", None)
    assert given


def test_only_one_guest_needs_only_one_file(tmp_path: Path) -> None:
    one = kallsyms(tmp_path / "k", "a")
    given = GivenSymbols.of(kallsyms=[f"7={one}"])
    kernel = given.only().kallsyms
    assert kernel is not None
    assert kernel.kernel.names[0] == "a"
    with pytest.raises(UsageError, match="several guests"):
        GivenSymbols.of(kallsyms=[f"7={one}", f"8={one}"]).only()


def test_directories_and_firmware_go_with_every_choice(tmp_path: Path) -> None:
    (tmp_path / "bios.bin").write_bytes(bytes(16))
    given = GivenSymbols.of(
        mount=tmp_path, directories=[tmp_path / "."], named=[f"{tmp_path}/bios.bin@0xf0000"]
    )
    assert given
    only = given.only()
    assert only.directories == (tmp_path, tmp_path)
    assert [extra.loaded.start for extra in only.extras.images] == [0xF0000]
    # With perf the mount has a directory a guest.
    assert given.of_guest(7).directories == (tmp_path,)
    with pytest.raises(UsageError, match="no directory") as caught:
        GivenSymbols.of(directories=[tmp_path / "bios.bin"])
    assert "--symfs" in caught.value.remedy


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (["a", "b"], "twice for all guests"),
        (["7=a", "7=b"], "twice for guest 7"),
        (["7="], "names no file"),
        ([""], "names no file"),
    ],
)
def test_contradictions_are_refused(values: list[str], words: str) -> None:
    for option in ("vmlinux", "kallsyms", "modules"):
        with pytest.raises(UsageError, match=words) as caught:
            GivenSymbols.of(**{option: values})  # type: ignore[arg-type]
        assert f"--guest{option}" in str(caught.value)


def test_only_a_number_before_the_sign_is_a_pid() -> None:
    given = GivenSymbols.of(kallsyms=["web=1/kallsyms", "7=a=b"])
    assert given.kallsyms == {None: Path("web=1/kallsyms"), 7: Path("a=b")}


def test_a_mount_must_be_a_directory(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no directory"):
        GivenSymbols.of(mount=tmp_path / "none")


def test_strangers_are_refused() -> None:
    given = GivenSymbols.of(kallsyms=["7=a"], modules=["b"])
    given.refuse_strangers([7, 8])
    with pytest.raises(UsageError, match="guest 7, which the recording does not have") as caught:
        given.refuse_strangers([9, 8])
    assert "8, 9" in caught.value.remedy


def test_every_file_can_be_tried_before_anything_is_sampled(tmp_path: Path) -> None:
    good = kallsyms(tmp_path / "k", "a")
    GivenSymbols.of(kallsyms=[str(good)]).open()
    for values in ([str(tmp_path / "none")], [str(good), f"7={tmp_path / 'none'}"]):
        with pytest.raises(SymbolsError):
            GivenSymbols.of(kallsyms=values).open()
