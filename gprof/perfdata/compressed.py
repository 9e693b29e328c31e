"""The compressed records of `perf record -z`: one zstd stream cut into records.

The stream runs through the whole file; a record's output may end amidst a record, which the
next output goes on with. Source: zstd_compress_stream_to_records in tools/perf/util/zstd.c and
perf_session__process_compressed_event in session.c, Linux 6.12; COMPRESSED2 from 6.16.
"""

from __future__ import annotations

from collections.abc import Iterator

import zstandard

from gprof.perfdata.errors import PerfDataError

#: Input given to the decompressor at a time. Four bytes of zstd may stand for 128 KiB, so this
#: bounds what one step can bring into memory to some 32 MiB.
_SLICE = 1024


class Inflater:
    """Decompresses one stream, step by step."""

    def __init__(self) -> None:
        self._stream = _new_stream()

    def inflate(self, data: bytes) -> Iterator[bytes]:
        """What `data` adds to the stream, in pieces of bounded size.

        Raises:
            PerfDataError: the bytes are no continuation of a zstd stream.
        """
        for at in range(0, len(data), _SLICE):
            piece = data[at : at + _SLICE]
            while piece:
                try:
                    output = self._stream.decompress(piece)
                except (zstandard.ZstdError, MemoryError) as error:
                    raise PerfDataError(
                        f"the compressed records cannot be decompressed: {error}",
                        "The file is damaged; record it again, or without -z.",
                    ) from error
                piece = b""
                if self._stream.eof:
                    piece = self._stream.unused_data
                    self._stream = _new_stream()
                if output:
                    yield output


def _new_stream() -> zstandard.ZstdDecompressionObj:
    return zstandard.ZstdDecompressor(max_window_size=1 << 27).decompressobj()
