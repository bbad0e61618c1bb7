"""A file of text as one document, or a part of it."""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

from seqmem.data.sources.files import File
from seqmem.data.sources.source import Piece, Source, document, in_pieces
from seqmem.errors import SeqmemError

OTHER_UNICODE = {b"\xff\xfe": "UTF-16", b"\xfe\xff": "UTF-16"}


@dataclass(frozen=True)
class TextFile(Source):
    """Bytes ``start`` to ``end`` of a file, whatever they are; text is UTF-8, and bytes that are not are kept."""

    file: File
    start: int
    end: int

    @property
    def name(self) -> str:  # type: ignore[override]
        return self.file.stem

    @property
    def num_bytes(self) -> int:  # type: ignore[override]
        return self.end - self.start

    @classmethod
    def whole(cls, file: File) -> "TextFile":
        return cls(file, 0, file.num_bytes)

    def pieces(self) -> Iterator[Piece]:
        is_blank = True
        for piece in document(self.name, in_pieces(self._blocks())):
            is_blank = is_blank and (not piece.text or piece.text.isspace())
            yield piece
        if is_blank and self.end == self.file.num_bytes and not self.start:
            raise SeqmemError(f"{self.file.location} is empty; remove it or give it text")

    def _blocks(self) -> Iterator[bytes]:
        for number, block in enumerate(self.file.blocks(self.start, self.end)):
            if number == 0 and self.start == 0 and (encoding := OTHER_UNICODE.get(block[:2])):
                raise SeqmemError(
                    f"{self.file.location} is {encoding}, not UTF-8; convert it, e.g. iconv -f {encoding} -t UTF-8"
                )
            yield block

    def cut(self, *shares: float) -> list["TextFile"]:
        """Parts that end at line borders, the first line border at or within 2 % after each share of the file.

        Where lines are longer, they end between two characters.
        """
        borders = [0, *(self._border(round(share * self.num_bytes)) for share in shares), self.num_bytes]
        return self.cut_at(borders)

    def cut_at(self, borders: list[int]) -> list["TextFile"]:
        """Parts between the given places; a part may be empty."""
        return [TextFile(self.file, start, end) for start, end in itertools.pairwise(borders)]

    def _border(self, target: int) -> int:
        place = target
        for block in self.file.blocks(target, min(self.num_bytes, target + self.num_bytes // 50)):
            if (newline := block.find(b"\n")) >= 0:
                return place + newline + 1
            place += len(block)
        following = b"".join(self.file.blocks(target, min(self.num_bytes, target + 4)))
        return target + next((i for i, byte in enumerate(following) if byte & 0xC0 != 0x80), 0)
