"""When the lines go: each in good time, and a flood together."""

from __future__ import annotations

from gearshift.cli.writer import LineWriter

LINE = b'{"item": 1}\n'


class Reader:
    """Notes what is written, and how long that takes on its clock."""

    def __init__(self, write_seconds: float = 0.0) -> None:
        self.writes: list[bytes] = []
        self.now = 0.0
        self._write_seconds = write_seconds

    def write(self, data: bytes) -> None:
        self.writes.append(data)
        self.now += self._write_seconds

    def clock(self) -> float:
        return self.now


def test_slow_lines_are_written_one_by_one() -> None:
    reader = Reader(write_seconds=0.002)
    writer = LineWriter(reader.write, clock=reader.clock)
    for _ in range(500):
        writer.add(LINE)
        reader.now += 0.1
    assert reader.writes == [LINE] * 500


def test_burst_after_a_pause_is_written_at_once() -> None:
    reader = Reader(write_seconds=0.005)
    writer = LineWriter(reader.write, clock=reader.clock)
    for _ in range(10):
        reader.now += 3.0
        for _ in range(40):
            writer.add(LINE)
    assert reader.writes == [LINE] * 400


def test_flood_is_written_together() -> None:
    reader = Reader(write_seconds=5e-6)
    writer = LineWriter(reader.write, clock=reader.clock)
    for _ in range(1_000_000):
        writer.add(b"1\n")
        reader.now += 1e-6
    writer.flush()
    assert b"".join(reader.writes) == b"1\n" * 1_000_000
    assert len(reader.writes) < 100_000
    assert len(reader.writes) * 5e-6 < 0.25 + 0.1 * reader.now + 1e-3


def test_reader_that_paused_is_served_promptly_again() -> None:
    reader = Reader(write_seconds=60.0)
    writer = LineWriter(reader.write, clock=reader.clock)
    for _ in range(100):
        writer.add(LINE)
    assert len(reader.writes) > 20


def test_patient_writer_waits_for_many() -> None:
    reader = Reader()
    writer = LineWriter(reader.write, patient=True, clock=reader.clock)
    for _ in range(10_000):
        writer.add(LINE)
        reader.now += 10.0
    assert min(map(len, reader.writes)) >= 1 << 16
    writer.flush()
    writer.flush()
    assert b"".join(reader.writes) == LINE * 10_000
