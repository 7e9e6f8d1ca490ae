"""PyTorch's file container: a zip archive of uncompressed records, each starting at a multiple of 64 bytes.

Source of the layout: PKWARE's APPNOTE 6.3.10, and files written by PyTorch 2.13, whose padding and data descriptors are
reproduced byte for byte so that readers which compute offsets find them.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from typing import Any, BinaryIO, NamedTuple, NoReturn, Self

from ._reading import LARGE, Source, Threads

__all__ = ["ZipReader", "ZipWriter", "is_zip"]

ALIGNMENT = 64
_LOCAL, _CENTRAL, _END, _DESCRIPTOR = b"PK\3\4", b"PK\1\2", b"PK\5\6", b"PK\7\x08"
_END64, _LOCATOR64 = b"PK\6\6", b"PK\6\7"
_BIG = 0xFFFFFFFF
_FLAGS = 0x0808  # names are UTF-8; checksum and size follow the data
_CHUNK = 8 << 20
_SMALL, _TOGETHER = 16 << 10, 256 << 10  # bytes


# -- writing --------------------------------------------------------------------------------------------------------


class ZipWriter:
    """Writes records one after the other to a file that need not be seekable.

    file:     a binary file; its ``write`` may write less than it is given, like that of a raw file.
    archive:  the folder that all names begin with.
    """

    def __init__(self, file: BinaryIO, archive: str = "archive") -> None:
        self._file, self._archive = file, archive.encode()
        self._at = 0
        self._central: list[bytes] = []
        self._names = b""
        self._waiting = bytearray()  # small pieces, to be written together
        self._threads = Threads()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: object) -> None:
        try:
            if kind is None:
                self._finish()
        finally:
            self._threads.close()

    def _write(self, data: Any) -> None:
        view = memoryview(data)
        self._at += view.nbytes
        if view.nbytes < _SMALL:
            self._waiting += view
            if len(self._waiting) >= _TOGETHER:
                self._flush()
        else:
            self._flush()
            self._send(view)

    def _flush(self) -> None:
        waiting, self._waiting = self._waiting, bytearray()
        self._send(memoryview(waiting))

    def _send(self, view: memoryview) -> None:
        while view.nbytes:
            done = self._file.write(view)
            if done is None or done >= view.nbytes:  # buffered files, and objects that do not say
                return
            view = view[done:]

    def add(self, name: str, data: Any) -> None:
        """Append the record ``archive/name`` with the bytes of a C-contiguous buffer."""
        data = memoryview(data).cast("B")
        full = self._archive + b"/" + name.encode()
        start, size = self._at, data.nbytes
        wide = [size, size] if size >= _BIG else []
        if start >= _BIG:
            wide.append(start)
        extra = struct.pack(f"<HH{len(wide)}Q", 1, 8 * len(wide), *wide) if wide else b""
        pad = -(start + 30 + len(full) + len(extra) + 4) % ALIGNMENT
        padding = b"FB" + struct.pack("<H", pad) + b"Z" * pad
        lengths = struct.pack("<HH", len(full), len(extra) + len(padding))
        header = struct.pack("<4s3H2H3I", _LOCAL, 0, _FLAGS, 0, 0, 0, 0, 0, 0) + lengths
        self._write(header + full + extra + padding)
        if size < LARGE:
            self._write(data)
            crc = zlib.crc32(data)
        else:
            checksum = self._threads.checksum(data)
            for i in range(0, size, _CHUNK):
                self._write(data[i : i + _CHUNK])
            crc = checksum()
        self._write(_DESCRIPTOR + struct.pack("<IQQ" if wide else "<III", crc, size, size))
        short = min(size, _BIG)
        entry = struct.pack("<4s4H2H3I", _CENTRAL, 0, 0, _FLAGS, 0, 0, 0, crc, short, short)
        entry += struct.pack("<5HII", len(full), len(extra), 0, 0, 0, 0, min(start, _BIG))
        self._central.append(entry + full + extra)
        self._names += full + struct.pack("<I", crc)

    def _finish(self) -> None:
        self.add("version", b"3\n")
        # PyTorch only passes this identification of the content on; any 40 digits do.
        low, high = zlib.crc32(self._names), zlib.adler32(self._names)
        self.add(".data/serialization_id", f"{low:020d}{high:020d}".encode())
        start, count = self._at, len(self._central)
        self._write(b"".join(self._central))
        size, end = self._at - start, self._at
        self._write(struct.pack("<4sQHHIIQQQQ", _END64, 44, 0x031E, 45, 0, 0, count, count, size, start))
        self._write(struct.pack("<4sIQI", _LOCATOR64, 0, end, 1))
        few = min(count, 0xFFFF)
        self._write(struct.pack("<4s4HIIH", _END, 0, 0, few, few, min(size, _BIG), min(start, _BIG), 0))
        self._flush()


# -- reading --------------------------------------------------------------------------------------------------------


def is_zip(source: Source) -> bool:
    """Whether the file begins like a zip archive."""
    return source.read(0, 4) == _LOCAL


def is_zipfile(f: Any) -> bool:
    """The same of an open file, from where it is read next; it stays there."""
    at = f.tell()
    head = f.read(len(_LOCAL))
    f.seek(at)
    return head == _LOCAL


class _Entry(NamedTuple):
    header: int  # where the local header begins
    limit: int  # where the next record, or the directory, begins
    size: int
    crc: int


class ZipReader:
    """The records of an archive, each checked before it is handed out.

    Raises RuntimeError, naming file and record, for whatever is not as PyTorch writes it: no directory, records that
    lie outside the file or over each other, compression or encryption, names that are absolute, climb or occur twice,
    and checksums that do not match.
    """

    def __init__(self, source: Source) -> None:
        self.source = source
        self._entries: dict[str, _Entry] = {}
        self._located: dict[str, tuple[int, int]] = {}
        self._threads = Threads()
        self._read_directory()
        found = [name for name in self._entries if name.count("/") == 1 and name.endswith("/data.pkl")]
        if len(found) != 1:
            found = [name for name in self._entries if name.endswith("/data.pkl")]
        if not found:
            self._fail("locating file data.pkl: file not found; this zip archive was not written by torch.save")
        self.archive = min(found, key=len)[: -len("data.pkl")]

    def _fail(self, why: str) -> NoReturn:
        raise RuntimeError(f"PytorchStreamReader failed {why} (in {self.source.name})")

    def _read_directory(self) -> None:
        source = self.source
        tail_at = max(source.size - 22 - 0xFFFF - 76, 0)
        tail = source.read(tail_at, source.size - tail_at)
        end = tail.rfind(_END)
        while end >= 0 and (end + 22 > len(tail) or end + 22 + _u16(tail, end + 20) != len(tail)):
            end = tail.rfind(_END, 0, end)
        if end < 0:
            self._fail("reading zip archive: failed finding central directory; the file is cut off or damaged")
        disk, disk2, here, count, size, start = struct.unpack_from("<4HII", tail, end + 4)
        limit = tail_at + end
        if end >= 20 and tail[end - 20 : end - 16] == _LOCATOR64:
            (at,) = struct.unpack_from("<Q", tail, end - 12)
            record = source.read(at, 56) if at < limit else b""
            if len(record) < 56 or record[:4] != _END64:
                self._fail("reading zip archive: invalid zip64 end of central directory")
            wide = struct.unpack_from("<IIQQQQ", record, 16)
            for narrow, value, top in ((count, wide[3], 0xFFFF), (size, wide[4], _BIG), (start, wide[5], _BIG)):
                if narrow not in (value, top):
                    self._fail("reading zip archive: its two ends of the central directory disagree")
            disk, disk2, here, count, size, start = wide
            limit = at
        if disk or disk2 or here != count:
            self._fail("reading zip archive: archives in several parts are not supported")
        if start + size > limit or count * 46 > size:
            self._fail(
                f"reading zip archive: invalid header or archive is corrupted: a directory of {count} entries, {size} "
                f"bytes at {start}, in a file of {source.size} bytes"
            )
        self._parse(source.read(start, size), count, start)

    def _parse(self, directory: bytes, count: int, limit: int) -> None:
        found: list[tuple[int, str, int, int]] = []
        seen: set[str] = set()
        at = 0
        for _ in range(count):
            if len(directory) - at < 46 or directory[at : at + 4] != _CENTRAL:
                self._fail("reading zip archive: the central directory is damaged")
            flags, method = struct.unpack_from("<HH", directory, at + 8)
            crc, packed, size = struct.unpack_from("<III", directory, at + 16)
            n_name, n_extra, n_comment = struct.unpack_from("<HHH", directory, at + 28)
            (header,) = struct.unpack_from("<I", directory, at + 42)
            raw = directory[at + 46 : at + 46 + n_name]
            extra = directory[at + 46 + n_name : at + 46 + n_name + n_extra]
            at += 46 + n_name + n_extra + n_comment
            if at > len(directory):
                self._fail("reading zip archive: the central directory is damaged")
            name = self._checked_name(raw)
            if name in seen:
                self._fail(f"reading zip archive: record {name} occurs twice")
            seen.add(name)
            size, packed, header = self._wide(name, extra, size, packed, header)
            if flags & 0x2041:
                self._fail(f"reading file {name}: encrypted records are not supported")
            if method or packed != size:
                self._fail(
                    f"reading file {name}: it is compressed (method {method}), which torch.save never does; unpack the "
                    "archive and zip it again without compression"
                )
            if header + 30 + n_name + size > limit:
                self._fail(f"reading file {name}: {size} bytes at {header} reach beyond the records' end at {limit}")
            found.append((header, name, size, crc))
        found.sort()
        ends = [entry[0] for entry in found[1:]] + [limit]
        for (header, name, size, crc), end in zip(found, ends, strict=True):
            if header + 30 + len(name.encode()) + size > end:
                self._fail(f"reading file {name}: the record overlaps the one after it")
            self._entries[name] = _Entry(header, end, size, crc)

    def _checked_name(self, raw: bytes) -> str:
        try:
            name = raw.decode()
        except UnicodeDecodeError:
            self._fail(f"reading zip archive: record name {raw!r} is not UTF-8")
        parts = name.removesuffix("/").split("/")
        if "\\" in name or "\0" in name or ":" in parts[0] or any(part in ("", ".", "..") for part in parts):
            self._fail(f"reading zip archive: refused record name {name!r}: not a plain relative path")
        return name

    def _wide(self, name: str, extra: bytes, size: int, packed: int, header: int) -> tuple[int, int, int]:
        """Sizes and offset, from the zip64 field where the directory's own are too small for them."""
        values = [size, packed, header]
        if _BIG not in values:
            return size, packed, header
        at = 0
        while len(extra) - at >= 4:
            kind, length = struct.unpack_from("<HH", extra, at)
            field = extra[at + 4 : at + 4 + length]
            at += 4 + length
            if kind == 1:
                need = [i for i, value in enumerate(values) if value == _BIG]
                if len(field) < 8 * len(need):
                    break
                for i, value in zip(need, struct.unpack_from(f"<{len(need)}Q", field), strict=True):
                    values[i] = value
                return values[0], values[1], values[2]
        self._fail(f"reading file {name}: its size or place is missing from the zip64 field")

    # ---- records -----------------------------------------------------------------------------------------------

    def __contains__(self, name: str) -> bool:
        return self.archive + name in self._entries

    def names(self) -> list[str]:
        """All names below the archive's folder."""
        return [name.removeprefix(self.archive) for name in self._entries if name.startswith(self.archive)]

    def locate(self, name: str) -> tuple[int, int]:
        """Offset in the source, and size, of a record's bytes."""
        found = self._located.get(name)
        if found is not None:
            return found
        full = self.archive + name
        entry = self._entries.get(full)
        if entry is None:
            self._fail(f"locating file {name}: file not found")
        raw = full.encode()
        header = self.source.read(entry.header, 30 + len(raw))
        if len(header) < 30 + len(raw) or header[:4] != _LOCAL or header[30:] != raw or _u16(header, 26) != len(raw):
            self._fail(f"reading file {name}: its local header is damaged")
        if _u16(header, 8):
            self._fail(f"reading file {name}: its local header says that it is compressed")
        offset = entry.header + 30 + len(raw) + _u16(header, 28)
        if offset + entry.size > entry.limit:
            self._fail(f"reading file {name}: {entry.size} bytes at {offset} reach into the next record")
        self._located[name] = offset, entry.size
        return offset, entry.size

    def read(self, name: str) -> bytes:
        """The bytes of a record."""
        offset, size = self.locate(name)
        data = self.source.read(offset, size)
        if len(data) != size:
            self._fail(f"reading file {name}: the file ends within the record")
        self._check(name, zlib.crc32(data), self._entries[self.archive + name].crc)
        return data

    def start(self, name: str, view: memoryview) -> Callable[[], None]:
        """Begin to fill ``view``, of exactly the record's size. The answer waits for it and compares the checksum."""
        offset, _ = self.locate(name)
        expected = self._entries[self.archive + name].crc
        checksum = self._threads.read(self.source, offset, view)
        return lambda: self._check(name, checksum(), expected)

    def large(self, folder: str) -> list[str]:
        """Names of the records of a folder that are worth reading ahead, in the order in which they lie."""
        prefix, cut = self.archive + folder, len(self.archive)
        return [n[cut:] for n, entry in self._entries.items() if n.startswith(prefix) and entry.size >= LARGE]

    def _check(self, name: str, found: int, expected: int) -> None:
        if found != expected:
            self._fail(
                f"reading file {name}: its checksum is {found:08x} instead of {expected:08x}; the data is damaged"
            )

    def close(self) -> None:
        """Stop reading; the source stays open."""
        self._threads.close()


def _u16(data: bytes, at: int) -> int:
    return data[at] | data[at + 1] << 8
