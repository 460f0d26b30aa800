"""A zip archive that every reader reads alike: its parts tile the file, and say the same thing twice."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from struct import error as StructError
from struct import unpack
from typing import IO

_UTF8, _DESCRIPTOR = 0x800, 8
_FULL = 0xFFFFFFFF


class Untidy(Exception):
    """Two readers may see two archives; the message says where."""


def check_tiling(file: IO[bytes], infos: Sequence[zipfile.ZipInfo]) -> None:
    """Check that the entries, the directory and the end records cover the file once, without a gap.

    Python's ``zipfile`` shifts all offsets where the directory is not where the end record says; the C++ reader of torch
    does not. Each may so be shown a program of its own in one file. Here nothing is left to be read in two ways: the end
    record ends the file, every stated offset is the true one, local headers agree with the directory.

    Args:
        file: the archive.
        infos: what ``zipfile`` made of its directory, in the directory's order.

    Raises:
        Untidy: where that does not hold.
    """
    try:
        start, end, count = _end_records(file)
        names = _directory(file, infos, start, end)
        if count != len(infos):
            raise Untidy(f"its end record counts {count} entries, its directory {len(infos)}")
        order = sorted(range(len(infos)), key=lambda i: infos[i].header_offset)
        stops = [infos[i].header_offset for i in order[1:]] + [start]
        position = 0
        for i, stop in zip(order, stops, strict=True):
            if infos[i].header_offset != position:
                raise Untidy(f"{infos[i].header_offset - position} bytes before {names[i]!r} belong to no entry")
            position = _local(file, infos[i], names[i], stop)
        if position != start:
            raise Untidy("bytes before its directory belong to no entry")
    except StructError:
        raise Untidy("a record is cut short") from None


def _end_records(file: IO[bytes]) -> tuple[int, int, int]:
    """Where the directory starts and ends, and how many entries it has."""
    size = file.seek(0, 2)
    signature, disk, disk_2, here, count, length, start, comment = unpack("<4s4H2LH", _at(file, size - 22, 22))
    if signature != b"PK\x05\x06" or comment:
        raise Untidy("something follows its end record")
    end = size - 22
    if _at(file, max(0, size - 42), 4) == b"PK\x06\x07":
        _, disk_3, where, disks = unpack("<4sLQL", _at(file, size - 42, 20))
        end = size - 98
        record = unpack("<4sQ2H2L4Q", _at(file, end, 56))
        if (where, disk_3, disks, *record[:2]) != (end, 0, 1, b"PK\x06\x06", 44) or record[4] or record[5]:
            raise Untidy("its zip64 end record is not where its locator says, or has another length")
        for short, full, largest in zip(
            (here, count, length, start), record[6:], (0xFFFF,) * 2 + (_FULL,) * 2, strict=True
        ):
            if short not in (full, largest):
                raise Untidy("its two end records differ")
        here, count, length, start = record[6:]
    if disk or disk_2 or here != count:
        raise Untidy("it says that it spans several disks")
    if start + length != end:
        raise Untidy("its directory is not where its end record says")
    return start, end, count


def _directory(file: IO[bytes], infos: Sequence[zipfile.ZipInfo], start: int, end: int) -> list[bytes]:
    names = []
    position = start
    for info in infos:
        fields = unpack("<4s4B4H3L5H2L", _at(file, position, 46))
        signature, flags, method, (crc, packed, plain) = fields[0], fields[5], fields[6], fields[9:12]
        name_length, extra_length, comment, disk, offset = *fields[12:16], fields[18]
        name = _at(file, position + 46, name_length)
        if signature != b"PK\x01\x02" or comment or disk:
            raise Untidy(f"its directory has a record with a comment or on another disk: {name[:60]!r}")
        wide = _wide(_at(file, position + 46 + name_length, extra_length), name)
        plain, packed, offset = (_number(n, wide) for n in (plain, packed, offset))
        seen = (info.flag_bits, info.compress_type, info.CRC, info.compress_size, info.file_size, info.header_offset)
        if seen != (flags, method, crc, packed, plain, offset):
            raise Untidy(f"the directory's record of {name[:60]!r} can be read in two ways")
        if not (flags & _UTF8 or name.isascii()) or name.decode(errors="replace") != info.orig_filename:
            raise Untidy(f"the name {name[:60]!r} can be read in two ways")
        names.append(name)
        position += 46 + name_length + extra_length
    if position != end:
        raise Untidy("its directory has another length than its end record says")
    return names


def _local(file: IO[bytes], info: zipfile.ZipInfo, name: bytes, stop: int) -> int:
    """Where the entry ends, its data descriptor included."""
    header = _at(file, info.header_offset, 30)
    signature, _, flags, method, _, _, crc, packed, plain, name_length, extra = unpack("<4s5H3L2H", header)
    if signature != b"PK\x03\x04" or _at(file, info.header_offset + 30, name_length) != name:
        raise Untidy(f"the directory calls an entry {name[:60]!r}, its own header does not")
    stated = [(crc, info.CRC), (packed, info.compress_size), (plain, info.file_size)]
    later = flags & _DESCRIPTOR
    if (flags, method) != (info.flag_bits, info.compress_type) or any(
        own != true and not (own == 0 and later) and not (own == _FULL and true != info.CRC) for own, true in stated
    ):
        raise Untidy(f"the directory and the header of {name[:60]!r} differ")
    position = info.header_offset + 30 + name_length + extra + info.compress_size
    if later:
        rest = _at(file, position, stop - position) if stop - position in (16, 24) else b""
        form = {16: "<4s3L", 24: "<4sL2Q"}.get(len(rest), "")
        if not form or unpack(form, rest) != (b"PK\x07\x08", info.CRC, info.compress_size, info.file_size):
            raise Untidy(f"what follows {name[:60]!r} is not its data descriptor")
        position = stop
    return position


def _wide(extra: bytes, name: bytes) -> list[int]:
    """The numbers of a record's zip64 field, the only extra field that is read."""
    if not extra:
        return []
    kind, length = unpack("<2H", extra[:4])
    if kind != 1 or length != len(extra) - 4 or length % 8:
        raise Untidy(f"the directory's record of {name[:60]!r} has extra fields")
    return list(unpack(f"<{length // 8}Q", extra[4:]))


def _number(short: int, wide: list[int]) -> int:
    return wide.pop(0) if short == _FULL and wide else short


def _at(file: IO[bytes], position: int, length: int) -> bytes:
    if position < 0 or length < 0:
        raise Untidy("a record is cut short")
    file.seek(position)
    return file.read(length)
