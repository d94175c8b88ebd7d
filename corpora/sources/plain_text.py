"""Documents out of text files: the file, each line, or each paragraph."""

from collections.abc import Iterator

from corpora.sources.raw_file import RawFile, document
from corpora.sources.source import Source
from hanlm.quarantine import Quarantine
from hanlm.records import Document, block_of_lines
from hanlm.text_lines import texts_of


def read_text(file: RawFile, source: Source, quarantine: Quarantine) -> Iterator[Document]:
    """Yield the documents of a text file in any encoding of Chinese; a line with bad bytes is quarantined alone."""
    unit = source.txt_unit or "file"
    with file.open_text(source) as stream:
        texts = texts_of(stream, file.label, quarantine, unit, first_line=file.first_line, invalid=stream.invalid)
        for number, text in texts:
            if unit == "file":
                yield document(source, file, id=file.name, text=text)
            else:
                group = block_of_lines(file.name, number)
                yield document(source, file, id=f"{file.name}:{number}", text=text, group=group)
