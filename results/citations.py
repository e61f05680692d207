"""The sources of published numbers: `published/sources.yaml`."""

from pathlib import Path
from typing import Annotated

from pydantic import Field

from superinfo.artifacts import Line as Text
from superinfo.errors import UserError
from superinfo.recipes import read_yaml
from superinfo.spec import Spec

PUBLISHED = Path(__file__).parent / "published"
SOURCES = "sources.yaml"


class Source(Spec):
    """Where numbers were read."""

    title: Annotated[Text, Field(min_length=1)]
    """Of a repository, its owner and name."""
    url: Annotated[str, Field(pattern=r"^https://\S+$")]
    """Of a repository, without the revision."""
    revision: str = Field(default="", pattern=r"^[0-9a-f]{7,40}$|^$")
    """Commit that was read; empty where it was not kept, and of a paper."""
    what: Annotated[Text, Field(min_length=1)]

    @property
    def citation(self) -> str:
        """Return the source in one line."""
        place = f"{self.url}/tree/{self.revision}" if self.revision else self.url
        return f"{self.title} ({self.what}), {place}"


def read_sources(folder: Path = PUBLISHED) -> dict[str, Source]:
    """Return the sources of a folder of published rows by key. Raises UserError if its file is missing or wrong."""
    path = folder / SOURCES
    if not path.is_file():
        raise UserError(f"{path}: no such file; it says what the sources of the rows beside it are")
    return {key: Source.parse(value, f"{path}: {key}") for key, value in read_yaml(path).items()}
