"""Names of places never show a credential."""

import pytest

from divergence.errors import InputError
from divergence.scoring.filesystems import place, scrubbed, sentence, shown


def test_names_of_places(monkeypatch):
    assert shown("s3://a:b@bucket/x?secret=c#d") == "s3://bucket/x"
    assert shown("/a/b?c") == "/a/b?c"
    monkeypatch.setenv("MY_SECRET_KEY", "hush-hush")
    address = "s3://me:pa%2Fss@b/x"
    assert scrubbed(f"it was hush-hush at {address} and pa/ss", address) == "it was *** at s3://b/x and ***"
    assert sentence(OSError(2, "No such file. Detail: [errno 2] x")) == "no such file"
    with pytest.raises(InputError, match="of no kind that can be opened"):
        place("http://example.org/a.parquet")
