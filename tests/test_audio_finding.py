"""Which recordings the inputs name, what each call is called, and what a manifest knows of it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from analyzer.audio import Found, Layout, Track, find_recordings, parse_layout
from analyzer.errors import ConfigError
from analyzer.types import Direction, Role

AGENT, CUSTOMER = Role.AGENT, Role.CUSTOMER


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("a.wav", "monday/b.mp3", "monday/deep/c.opus", "notes.txt", ".hidden.wav", "monday/._b.mp3"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"-")
    return tmp_path


def ids(found: Found) -> list[str]:
    return [recording.call_id for recording in found.recordings]


def faults(found: Found) -> str:
    return "\n".join(map(str, found.faults))


def test_a_folder_is_searched_to_any_depth_and_names_calls_by_their_path_in_it(folder: Path) -> None:
    found = find_recordings([folder])
    assert ids(found) == ["a", "monday/b", "monday/deep/c"]
    assert not found.faults


def test_a_recording_under_a_strange_extension_is_found_by_its_first_bytes(folder: Path) -> None:
    (folder / "d.dat").write_bytes(b"RIFF....WAVE")
    (folder / "e.bin").write_bytes(b"\0\0\0\x20ftypM4A ")
    assert ids(find_recordings([folder])) == ["a", "d", "e", "monday/b", "monday/deep/c"]


def test_a_pattern_names_calls_by_their_path_below_its_fixed_part(folder: Path) -> None:
    assert ids(find_recordings([f"{folder}/**/*.*p*"])) == ["monday/b", "monday/deep/c"]


def test_a_single_file_is_called_by_its_stem_and_several_by_where_they_differ(folder: Path) -> None:
    assert ids(find_recordings([folder / "monday/b.mp3"])) == ["b"]
    assert ids(find_recordings([folder / "a.wav", folder / "monday/b.mp3"])) == ["a", "monday/b"]


def test_a_name_with_brackets_is_a_name_before_it_is_a_pattern(folder: Path) -> None:
    (folder / "x[1].wav").write_bytes(b"-")
    assert ids(find_recordings([folder / "x[1].wav"])) == ["x[1]"]


def test_a_file_named_twice_counts_once(folder: Path) -> None:
    assert ids(find_recordings([folder, folder / "a.wav"])) == ["a", "monday/b", "monday/deep/c"]


def test_the_second_of_two_recordings_with_one_id_is_a_fault_and_the_rest_stand(folder: Path) -> None:
    (folder / "a.mp3").write_bytes(b"-")
    found = find_recordings([folder])
    assert ids(found) == ["a", "monday/b", "monday/deep/c"]
    assert "a.wav: its call id 'a' is already that of" in faults(found)


def test_a_missing_file_is_left_to_the_decoder_but_an_empty_folder_or_pattern_is_a_fault(tmp_path: Path) -> None:
    found = find_recordings([tmp_path / "gone.wav", tmp_path, f"{tmp_path}/*.mp3"])
    assert ids(found) == ["gone"]
    assert "no recordings in this folder" in faults(found)
    assert "no file matches" in faults(found)


def test_a_gbk_file_name_becomes_a_readable_id(tmp_path: Path) -> None:
    (tmp_path / os.fsdecode("通话".encode("gbk") + b".wav")).write_bytes(b"-")
    assert ids(find_recordings([tmp_path])) == ["通话"]


def test_options_say_who_is_on_which_channel() -> None:
    assert parse_layout() == Layout((AGENT, CUSTOMER))
    assert parse_layout(channels="customer, Agent") == Layout((CUSTOMER, AGENT))
    assert parse_layout(mono="mixed") == Layout((Role.UNKNOWN,), mixed=True)
    assert parse_layout(mono="unknown") == Layout((Role.UNKNOWN,))
    assert parse_layout(pair="_a,_c") == Layout(pair=("_a", "_c"))


@pytest.mark.parametrize(
    "options",
    [
        {"channels": "agent"},
        {"channels": "agent,agent"},
        {"channels": "left,right"},
        {"mono": "both"},
        {"pair": "_a"},
        {"pair": "_a,_a"},
        {"channels": "agent,customer", "mono": "agent"},
    ],
)
def test_an_option_that_makes_no_sense_is_a_configuration_error(options: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match=r"--\w+"):
        parse_layout(**options)


def test_two_files_whose_names_end_in_the_pair_are_one_call(tmp_path: Path) -> None:
    for name in ("1_in.wav", "1_out.wav", "2_in.wav", "3.wav"):
        (tmp_path / name).write_bytes(b"-")
    found = find_recordings([tmp_path], parse_layout(pair="_out,_in"))
    (call,) = found.recordings
    assert call.call_id == "1"
    assert call.tracks == (Track(tmp_path / "1_out.wav", (AGENT,)), Track(tmp_path / "1_in.wav", (CUSTOMER,)))
    assert "2_in.wav: the file ending in _out is missing" in faults(found)
    assert "3.wav: its name ends neither" in faults(found)


CSV = "path,call_id,direction,ring_ms,customer_surname,city\na.wav,1001,inbound,4000,王,昆明\nmonday/b.mp3,,,,,\n"

SHOUTED = CSV.upper().encode()  # column names and choices in capitals


@pytest.mark.parametrize(
    "content",
    [CSV.encode(), CSV.encode("utf-8-sig"), CSV.encode("gb18030"), CSV.replace(",", ";").encode(), SHOUTED],
)
def test_a_csv_manifest_is_read_as_spreadsheets_save_it(folder: Path, content: bytes) -> None:
    (folder / "calls.csv").write_bytes(content.replace(b"\n", b"\r\n").replace(b"A.WAV", b"a.wav"))
    first, second = find_recordings([folder / "calls.csv"]).recordings
    assert (first.call_id, first.direction) == ("1001", Direction.INBOUND)
    assert first.metadata == {"ring_ms": 4000, "customer_surname": "王", "city": "昆明"}
    assert len(first.warnings) == 1
    assert "'city'" in first.warnings[0]
    assert first.tracks == (Track(folder / "a.wav", (AGENT, CUSTOMER)),)
    assert second.call_id.lower() == "monday/b"
    assert (second.direction, second.metadata, second.warnings) == (Direction.UNKNOWN, {}, ())


def test_a_jsonl_manifest_may_nest_attributes_and_describe_layouts(folder: Path) -> None:
    lines = [
        '{"path": "a.wav", "channels": "customer,agent", "metadata": {"hung_up_by": "agent"}, "transferred": false}',
        '{"agent_path": "x/agent.wav", "customer_path": "x/customer.wav", "call_id": 7}',
        "",
        '{"path": "monday/b.mp3", "mono": "mixed"}',
    ]
    (folder / "calls.jsonl").write_text("\n".join(lines))
    found = find_recordings([folder / "calls.jsonl"])
    assert ids(found) == ["a", "7", "monday/b"]
    roles = [recording.roles for recording in found.recordings]
    assert roles == [(CUSTOMER, AGENT), (AGENT, CUSTOMER), (Role.UNKNOWN,)]
    assert found.recordings[0].metadata == {"hung_up_by": "agent", "transferred": False}


def test_ids_of_recordings_outside_the_manifests_folder_do_not_name_the_machine(folder: Path) -> None:
    (folder / "lists").mkdir()
    (folder / "lists/calls.csv").write_text(f"path\n{folder}/a.wav\n../monday/b.mp3\n")
    assert ids(find_recordings([folder / "lists/calls.csv"])) == ["a", "monday/b"]


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ('b.wav,2,"云岭"银行', "is no CSV"),
        ('b.wav,2,"云岭银行', "is no CSV"),
        ('b.wav,2,"云岭银行\nc.wav,3,"云岭"', "is no CSV"),
    ],
)
def test_a_quotation_mark_out_of_place_costs_its_own_row_and_no_other(tmp_path: Path, row: str, says: str) -> None:
    rows = ["path,call_id,company", "a.wav,1,云岭", row, "d.wav,4,云岭", 'e.wav,5,"云岭"']
    (tmp_path / "calls.csv").write_text("\n".join(rows), encoding="utf-8")
    found = find_recordings([tmp_path / "calls.csv"])
    assert [call_id for call_id in ids(found) if call_id != "3"] == ["1", "4", "5"]
    assert f"calls.csv:3: {says}" in faults(found)
    assert len(found.faults) == 1


def test_a_cell_may_hold_a_line_break(tmp_path: Path) -> None:
    (tmp_path / "calls.csv").write_text('path,company,team\na.wav,"云岭\n银行",一组\nb.wav,,\n', encoding="utf-8")
    found = find_recordings([tmp_path / "calls.csv"])
    assert [recording.metadata.get("company") for recording in found.recordings] == ["云岭\n银行", None]


def test_a_recording_whose_row_is_at_fault_is_not_scored_as_if_nothing_were_known_of_it(folder: Path) -> None:
    rows = "path,call_id,direction\na.wav,1,inbound\nmonday/b.mp3,2,呼入\n"
    (folder / "manifest.csv").write_text(rows, encoding="utf-8")
    found = find_recordings([folder])
    assert not any(track.path.name == "b.mp3" for recording in found.recordings for track in recording.tracks)
    assert "manifest.csv:3: direction is '呼入'" in faults(found)
    assert "left out" in faults(found)


@pytest.mark.parametrize("name", ["calls.csv", "calls.jsonl"])
def test_a_manifest_without_rows_is_a_fault(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("path,call_id\n\n" if name.endswith("csv") else "\n")
    found = find_recordings([tmp_path / name])
    assert "names no recording" in faults(found)


def test_a_line_separator_inside_json_ends_no_line(tmp_path: Path) -> None:
    (tmp_path / "calls.jsonl").write_text('{"path": "a.wav", "company": "云\u2028岭"}\n{"path": "b.wav"}\n', "utf-8")
    found = find_recordings([tmp_path / "calls.jsonl"])
    assert (ids(found), found.faults) == (["a", "b"], ())


def test_rows_that_describe_one_recording_as_two_calls_are_at_fault(tmp_path: Path) -> None:
    (tmp_path / "calls.csv").write_text("path,call_id\na.wav,1\n./a.wav,2\nb.wav,3\nb.wav,3\n")
    found = find_recordings([tmp_path / "calls.csv"])
    assert ids(found) == ["1", "3"]
    assert "described twice, as call '1' and as '2'" in faults(found)


def test_recordings_come_in_the_order_of_the_inputs_and_described_ones_keep_their_id(folder: Path) -> None:
    (folder / "calls.csv").write_text("path,call_id\nmonday/b.mp3,first\n")
    assert ids(find_recordings([folder / "calls.csv", folder / "a.wav"]))[0] == "first"
    (folder / "manifest.csv").write_text("path,call_id\nmonday/b.mp3,a\n")
    found = find_recordings([folder])
    assert next(one for one in found.recordings if one.call_id == "a").tracks[0].path.name == "b.mp3"


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ('{"call_id": "x"}', "names no recording"),
        ('{"path": "a.wav", "agent_path": "b.wav"}', "names no recording"),
        ('{"path": ["a.wav"]}', "path must be text"),
        ('{"path": "a.wav", "direction": "up"}', "direction is 'up'"),
        ('{"path": "a.wav", "ring_ms": "soon"}', "ring_ms is 'soon'"),
        ('{"path": "a.wav", "mono": "both"}', "--mono"),
        ('{"path": "a.wav", "call_id": "a\\nb"}', "call_id"),
        ("[1]", "no JSON object"),
        ("{", "no JSON"),
    ],
)
def test_a_bad_row_is_a_fault_with_its_line_and_the_others_stand(folder: Path, row: str, says: str) -> None:
    (folder / "calls.jsonl").write_text('{"path": "monday/b.mp3"}\n' + row + "\n")
    found = find_recordings([folder / "calls.jsonl"])
    assert ids(found) == ["monday/b"]
    assert faults(found).startswith(f"{folder}/calls.jsonl:2: ")
    assert says in faults(found)


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("gone.csv", None, "cannot be read"),
        ("calls.csv", b"file,id\na.wav,1\n", "no column path"),
        ("calls.csv", b"", "no column path"),
        ("calls.csv", b"path\n\xff\xff\xff\n", "neither UTF-8 nor GBK"),
        ("calls.csv", b"path,ring_ms\na.wav,1,2\n", "more cells"),
        ("calls.csv", b'path\n"a.wav\n', "no CSV"),
    ],
)
def test_a_manifest_that_cannot_be_read_is_one_fault(
    tmp_path: Path, name: str, content: bytes | None, says: str
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    found = find_recordings([tmp_path / name])
    assert not found.recordings
    assert len(found.faults) == 1
    assert says in faults(found)


def test_repr_hides_call_attributes(folder: Path) -> None:
    (folder / "calls.csv").write_text("path,customer_surname\na.wav,欧阳\n")
    assert "欧阳" not in repr(find_recordings([folder / "calls.csv"]))
