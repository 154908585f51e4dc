"""The file for the node exporter's textfile collector."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from oracles import OWN, FakeSource, TextReader, all_kinds
from otel_aioprom.collectors import Counter
from otel_aioprom.registry import CollectorRegistry
from otel_aioprom.renderer import render
from otel_aioprom.textfile import write_textfile


def test_a_file_is_written_atomically(tmp_path: Path) -> None:
    """In text 0.0.4 without timestamps, readable by others; no temporary file is left."""
    registry = all_kinds({"a": "é"})
    path = tmp_path / "app.prom"
    with TextReader() as reader:
        for target in (path, str(path)):
            write_textfile(registry, target)
            assert reader.read(path.read_bytes()).encode() == render(registry)[0]

    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    assert list(tmp_path.iterdir()) == [path]


def test_a_failed_write_keeps_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a temporary file."""
    path = tmp_path / "app.prom"
    path.write_text("old")

    def fail(*_: object) -> None:
        raise OSError("no space left")

    monkeypatch.setattr("os.fsync", fail)
    with pytest.raises(OSError, match="no space left"):
        write_textfile(all_kinds(), path)
    with pytest.raises(FileNotFoundError):
        write_textfile(all_kinds(), tmp_path / "missing" / "app.prom")

    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_failed_source_does_not_affect_others(tmp_path: Path) -> None:
    """Its failure is counted."""
    registry = CollectorRegistry()
    Counter("x_total", "What.", registry=registry).inc()
    registry.add_source(FakeSource(RuntimeError("broken"), name="bad"))
    write_textfile(registry, tmp_path / "app.prom")
    text = (tmp_path / "app.prom").read_text()

    assert "x_total 1\n" in text
    assert f'{OWN}source_failures_total{{cause="raised",source="bad"}} 1' in text


@pytest.mark.parametrize("name", ["x.txt", "x", "x.prom.txt", "x.PROM", ".promx"])
def test_a_name_that_the_node_exporter_does_not_read_is_warned_about(
    tmp_path: Path, name: str
) -> None:
    """The file would be there and its metrics nowhere; others may read it, so it is written."""
    with pytest.warns(
        UserWarning, match=rf"only names that end in \.prom: rename '{name}'"
    ) as told:
        write_textfile(all_kinds(), tmp_path / name)

    assert told[0].filename == __file__
    assert (tmp_path / name).read_bytes()
