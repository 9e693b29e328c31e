"""Writes perf.data files for tests: any shape, either byte order, exactly the records asked for."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass, field

import zstandard

from gprof.perfdata.attributes import SampleField
from gprof.perfdata.cursor import Order

GUEST_SAMPLE = (
    SampleField.IP
    | SampleField.TID
    | SampleField.TIME
    | SampleField.ID
    | SampleField.CPU
    | SampleField.PERIOD
)


def attribute(
    order: Order = "<",
    *,
    kind: int = 1,
    config: int = 0,
    sample_type: int = GUEST_SAMPLE,
    read_format: int = 4,
    period: int = 500,
    flags: int = 1 << 18,
    size: int = 128,
) -> bytes:
    """A perf_event_attr of any size from 64 on; flags as on a little-endian machine."""
    if order == ">":
        # Bit fields are laid out from the top; the two bits of precise_ip keep their order.
        precise = flags >> 15 & 3
        flags = int(f"{flags & ~(3 << 15):064b}"[::-1], 2) | precise << (64 - 17)
    head = struct.pack(
        order + "IIQQQQQ", kind, size, config, period, sample_type, read_format, flags
    )
    return head.ljust(size, b"\0")


def record(order: Order, kind: int, body: bytes = b"", misc: int = 0) -> bytes:
    return struct.pack(order + "IHH", kind, misc, 8 + len(body)) + body


def sample(
    order: Order = "<",
    *,
    sample_type: int = GUEST_SAMPLE,
    misc: int = 4,
    ip: int = 0xFFFF_FFFF_8100_0000,
    pid: int = 100,
    tid: int = 101,
    time: int = 1,
    number: int = 1,
    cpu: int = 0,
    period: int = 1,
    chain: tuple[int, ...] = (),
    raw: bytes = b"",
) -> bytes:
    """A sample with the fields of `sample_type`, of those that gprof writes in its tests."""
    words = {
        SampleField.IDENTIFIER: struct.pack(order + "Q", number),
        SampleField.IP: struct.pack(order + "Q", ip),
        SampleField.TID: struct.pack(order + "ii", pid, tid),
        SampleField.TIME: struct.pack(order + "Q", time),
        SampleField.ADDR: struct.pack(order + "Q", 0xADD2),
        SampleField.ID: struct.pack(order + "Q", number),
        SampleField.STREAM_ID: struct.pack(order + "Q", 0x57),
        SampleField.CPU: struct.pack(order + "II", cpu, 0),
        SampleField.PERIOD: struct.pack(order + "Q", period),
        SampleField.READ: struct.pack(order + "QQ", 7, number),
        SampleField.CALLCHAIN: struct.pack(f"{order}{1 + len(chain)}Q", len(chain), *chain),
        SampleField.RAW: _raw(order, raw),
    }
    body = b"".join(part for bit, part in words.items() if sample_type & bit)
    return record(order, 9, body, misc)


def _raw(order: Order, raw: bytes) -> bytes:
    padded = raw.ljust((len(raw) + 4 + 7 & ~7) - 4, b"\0")
    return struct.pack(order + "I", len(padded)) + padded


def text(value: str) -> bytes:
    """A name as records end with: a zero, and padding to eight bytes."""
    data = value.encode() + b"\0"
    return data.ljust(len(data) + 7 & ~7, b"\0")


def mapping(
    order: Order,
    name: str,
    start: int,
    length: int,
    *,
    offset: int = 0,
    pid: int = 0,
    misc: int = 4,
) -> bytes:
    body = struct.pack(order + "iiQQQ", pid, 0, start, length, offset)
    return record(order, 1, body + text(name), misc)


def comm(order: Order, pid: int, tid: int, name: str) -> bytes:
    return record(order, 3, struct.pack(order + "ii", pid, tid) + text(name))


def id_index(order: Order, *entries: tuple[int, int, int, int, int, int]) -> bytes:
    """Entries of id, event, cpu, tid, machine pid and vcpu, in both arrays."""
    first = b"".join(struct.pack(order + "4Q", *entry[:4]) for entry in entries)
    second = b"".join(struct.pack(order + "2Q", *entry[4:]) for entry in entries)
    return record(order, 69, struct.pack(order + "Q", len(entries)) + first + second)


def compressed(
    records: bytes, order: Order = "<", *, piece: int = 50, second: bool = False
) -> bytes:
    """Records as one zstd stream, cut into COMPRESSED or COMPRESSED2 records anywhere."""
    stream = zstandard.ZstdCompressor().compressobj()
    found = b""
    for at in range(0, len(records), piece):
        data = stream.compress(records[at : at + piece])
        data += stream.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK)
        if second:
            padded = data.ljust(len(data) + 7 & ~7, b"\0")
            found += record(order, 83, struct.pack(order + "Q", len(data)) + padded)
        else:
            found += record(order, 81, data)
    return found


def counted(order: Order, value: str) -> bytes:
    data = value.encode() + b"\0"
    data = data.ljust(len(data) + 63 & ~63, b"\0")
    return struct.pack(order + "I", len(data)) + data


def perf_file(
    records: bytes,
    order: Order = "<",
    *,
    attributes: tuple[bytes, ...] | None = None,
    ids: tuple[tuple[int, ...], ...] = ((1, 2),),
    features: Mapping[int, bytes] | None = None,
    data_size: int | None = None,
) -> bytes:
    """A file with its header, tables and records."""
    attributes = attributes or (attribute(order),)
    features = features or {}
    size = len(attributes[0])
    id_blob = b"".join(struct.pack(f"{order}{len(one)}Q", *one) for one in ids)
    table_at = 104 + len(id_blob)
    entries, at = b"", 104
    for one, of in zip(attributes, ids, strict=True):
        entries += one.ljust(size, b"\0") + struct.pack(order + "QQ", at, 8 * len(of))
        at += 8 * len(of)
    data_at = table_at + len(entries)
    bits = sum(1 << number for number in features)
    words = [bits >> (64 * i) & (1 << 64) - 1 for i in range(4)]
    header = struct.pack(
        order + "8sQQ6Q4Q",
        b"PERFILE2" if order == "<" else b"2ELIFREP",
        104,
        size + 16,
        table_at,
        len(entries),
        data_at,
        len(records) if data_size is None else data_size,
        0,
        0,
        *words,
    )
    place = data_at + len(records) + 16 * len(features)
    table, contents = b"", b""
    for number in sorted(features):
        table += struct.pack(order + "QQ", place + len(contents), len(features[number]))
        contents += features[number]
    return header + id_blob + entries + records + table + contents


def perf_pipe(
    records: bytes,
    order: Order = "<",
    *,
    attributes: tuple[bytes, ...] | None = None,
    ids: tuple[tuple[int, ...], ...] = ((1, 2),),
    names: tuple[str, ...] = (),
    features: Mapping[int, bytes] | None = None,
) -> bytes:
    """A stream that describes itself."""
    attributes = attributes or (attribute(order),)
    found = struct.pack(order + "8sQ", b"PERFILE2" if order == "<" else b"2ELIFREP", 16)
    for one, of in zip(attributes, ids, strict=True):
        found += record(order, 64, one + struct.pack(f"{order}{len(of)}Q", *of))
    for number, data in (features or {}).items():
        found += record(order, 80, struct.pack(order + "Q", number) + data)
    for of, name in zip(ids, names, strict=False):
        found += record(order, 78, struct.pack(order + "QQ", 2, of[0]) + text(name))
    return found + records


KVM_FORMATS = {
    "kvm_entry": (
        1001,
        (("vcpu_id", "unsigned int", 8, 4), ("rip", "unsigned long", 16, 8)),
        '"vcpu %u, rip 0x%lx", REC->vcpu_id, REC->rip',
    ),
    "kvm_exit": (
        1002,
        (
            ("exit_reason", "unsigned int", 8, 4),
            ("guest_rip", "unsigned long", 16, 8),
            ("isa", "u32", 24, 4),
            ("vcpu_id", "unsigned int", 28, 4),
        ),
        (
            '"reason %s", (REC->isa == 1) ? __print_symbolic(REC->exit_reason & 0xffff, '
            '{ 0, "EXCEPTION_NMI" }, { 12, "HLT" }) : __print_symbolic(REC->exit_reason, '
            '{ 0x040 + 14, "PF excp" }, { 0x078, "hlt" }, { 0x400, "npf" })'
        ),
    ),
}


@dataclass
class TracingWriter:
    """Tracing data of some tracepoints: id, fields (name, type, offset, size), print format."""

    formats: dict[str, tuple[int, tuple[tuple[str, str, int, int], ...], str]] = field(
        default_factory=lambda: dict(KVM_FORMATS)
    )
    system: str = "kvm"

    def data(self, order: Order = "<") -> bytes:
        long = struct.Struct(order + "Q").pack
        count = struct.Struct(order + "I").pack
        found = b"\x17\x08\x44tracing0.6\0" + bytes([order == ">", 8]) + count(4096)
        for part in (b"header_page\0", b"header_event\0"):
            found += part + long(5) + b"field"
        found += count(1) + long(3) + b"abc"
        found += count(1) + self.system.encode() + b"\0" + count(len(self.formats))
        for name, (number, fields, shown) in self.formats.items():
            lines = [f"name: {name}", f"ID: {number}", "format:"]
            lines += [
                f"\tfield:{kind} {label};\toffset:{at};\tsize:{size};\tsigned:0;"
                for label, kind, at, size in fields
            ]
            described = "\n".join([*lines, "", f"print fmt: {shown}"]).encode()
            found += long(len(described)) + described
        return found + count(0) + count(0) + long(0)
