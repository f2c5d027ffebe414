"""The champion is moved by compare-and-swap, alone among processes, and every move is kept."""

import subprocess
import sys
from pathlib import Path

import pytest
from made_versions import NAME, make_versions
from toy_project import Toy

from flows.registry_errors import ConflictError, RegistryError

RACER = """
import sys, time
from pathlib import Path
from flows.registry_alias import champion, swap
from flows.registry_errors import ConflictError

folder, mine, other, rounds = Path(sys.argv[1]), sys.argv[2], sys.argv[3], int(sys.argv[4])

def meet(place):
    (folder / f"{place}.{mine}").touch()
    while not (folder / f"{place}.{other}").exists():
        time.sleep(0.002)

for number in range(rounds):
    before = champion("empty")
    meet(f"begun-{number}")
    try:
        swap("empty", before, mine, "promote")
        print("won", flush=True)
    except ConflictError as error:
        print("told", str(error).partition(chr(10))[0], flush=True)
    meet(f"ended-{number}")
    if mine == "2":  # back to the first, for the next round
        swap("empty", champion("empty"), "1", "promote")
    meet(f"next-{number}")
"""


def move(before: str | None, to: str, why: str = "promote") -> "object":
    from flows.registry_alias import Move

    return Move(before, to, why, "2026-01-01T00:00:00+00:00", "ann@here")  # type: ignore[arg-type]


def test_of_two_promotions_at_once_one_wins_and_the_other_is_told(
    toy_here: Toy, tmp_path: Path
) -> None:
    from flows.registry_alias import LOCK, champion, moves, swap
    from flows.store import client

    rounds = 4
    make_versions(toy_here, 3)
    swap(NAME, None, "1", "gate")
    racers = [
        subprocess.Popen(
            [sys.executable, "-c", RACER, str(tmp_path), mine, other, str(rounds)],
            cwd=toy_here.root,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for mine, other in (("2", "3"), ("3", "2"))
    ]
    said = [racer.communicate(timeout=300) for racer in racers]
    assert [racer.returncode for racer in racers] == [0, 0], said
    one, other = (out.splitlines() for out, _ in said)
    assert len(one) == len(other) == rounds
    for mine, theirs in zip(one, other, strict=True):
        assert sorted(line.split()[0] for line in (mine, theirs)) == ["told", "won"]
        loser = next(line for line in (mine, theirs) if line.startswith("told"))
        winner = "3" if loser is mine else "2"
        assert f"version {winner} (promote by " in loser
        assert f"Version {'2' if loser is mine else '3'} was not promoted" in loser
    assert champion(NAME) == "1"
    assert len(moves(NAME)) == 1 + 2 * rounds, "who lost has left no move"
    assert not client().search_registered_models(f"name = '{NAME}{LOCK}'")


def test_a_swap_that_expects_another_champion_changes_nothing(toy_here: Toy) -> None:
    from flows.registry_alias import champion, moves, swap

    make_versions(toy_here, 2)
    assert champion("nobody") is None
    assert champion(NAME) is None
    with pytest.raises(ConflictError, match=r"empty has no champion by now; .* was version 2"):
        swap(NAME, "2", "1", "promote")
    assert champion(NAME) is None
    first = swap(NAME, None, "1", "gate")
    swap(NAME, "1", "2", "promote", "better on the new questions")
    assert (first.before, first.to) == (None, "1")
    assert [(m.before, m.to, m.why) for m in moves(NAME)] == [
        (None, "1", "gate"),
        ("1", "2", "promote"),
    ]
    assert moves(NAME)[1].note == "better on the new questions"
    assert moves(NAME)[1].by.count("@") == 1


def test_a_lock_that_is_held_is_waited_for_and_then_told(
    toy_here: Toy, monkeypatch: pytest.MonkeyPatch
) -> None:
    from flows import registry_alias
    from flows.store import client

    make_versions(toy_here, 1)
    monkeypatch.setattr(registry_alias, "WAIT_S", 0.3)
    with (
        registry_alias.alone(client(), NAME),
        pytest.raises(ConflictError, match=r"is being moved by \S+@\S+ since 20"),
    ):
        registry_alias.swap(NAME, None, "1", "gate")
    assert registry_alias.champion(NAME) is None
    with pytest.raises(ValueError, match="in the middle"), registry_alias.alone(client(), NAME):
        raise ValueError("in the middle")
    registry_alias.swap(NAME, None, "1", "gate")


def test_what_a_dead_process_held_is_taken_from_it(toy_here: Toy) -> None:
    from flows import registry_alias
    from flows.holder import BEGUN, BOOT, HOST, holder, is_dead
    from flows.store import client

    make_versions(toy_here, 1)
    code = (
        "import os, signal; from flows.store import client; "
        "from flows.registry_alias import alone\n"
        "with alone(client(), 'empty'): os.kill(os.getpid(), signal.SIGKILL)"
    )
    assert toy_here.run(sys.executable, "-c", code).returncode == -9
    assert client().search_registered_models(f"name = '{NAME}{registry_alias.LOCK}'")
    registry_alias.swap(NAME, None, "1", "gate")
    assert registry_alias.champion(NAME) == "1"

    mine = holder()
    assert not is_dead(mine)
    assert is_dead(mine | {BOOT: "another start of this machine"})
    assert is_dead(mine | {BEGUN: "1"}), "another process has the number by now"
    assert not is_dead(mine | {HOST: "elsewhere", BEGUN: "1"}), "nobody here can know"


def test_a_move_that_a_crash_left_unwritten_is_written_by_the_next(toy_here: Toy) -> None:
    from flows.registry_alias import CHAMPION, moves, swap
    from flows.store import client

    make_versions(toy_here, 2)
    swap(NAME, None, "1", "gate")
    client().set_registered_model_alias(NAME, CHAMPION, "2")
    for _ in range(2):
        swap(NAME, "2", "2", "gate")
    assert [(m.before, m.to) for m in moves(NAME)] == [(None, "1"), ("1", "2")]


def test_reigns_are_a_stack() -> None:
    from flows.registry_alias import reigns

    past = [move(None, "1"), move("1", "2"), move("2", "3")]
    assert reigns(past, "3") == ["1", "2", "3"]  # type: ignore[arg-type]
    past.append(move("3", "2", "rollback"))
    assert reigns(past, "2") == ["1", "2"]  # type: ignore[arg-type]
    past.append(move("2", "1", "rollback"))
    assert reigns(past, "1") == ["1"]  # type: ignore[arg-type]
    past.append(move("1", "3"))
    assert reigns(past, "3") == ["1", "3"]  # type: ignore[arg-type]
    # moved by hand: to a new one, back to an old one, taken away
    assert reigns(past, "4") == ["1", "3", "4"]  # type: ignore[arg-type]
    assert reigns(past, "1") == ["1"]  # type: ignore[arg-type]
    assert reigns([], "5") == ["5"]
    assert reigns([], None) == []


def test_what_is_not_there_is_said_with_what_is(toy_here: Toy) -> None:
    from flows.registry_alias import swap
    from flows.registry_promote import rollback
    from flows.registry_ref import find

    with pytest.raises(RegistryError, match=r"no model 'empty'\s+→ tuneline run RECIPE makes one"):
        find("empty@1")
    make_versions(toy_here, 2)
    for wrong, told in (
        ("empti@1", "no model 'empti'; did you mean 'empty'"),
        ("empty@3", r"no version '3'\s+→ it has: 1, 2"),
        ("empty@champion", r"no alias 'champion'\s+→ it has: 1, 2"),
        ("empty", "names no version of a model"),
    ):
        with pytest.raises(RegistryError, match=told):
            find(wrong)
    swap(NAME, None, "2", "gate")
    with pytest.raises(RegistryError, match="did you mean 'champion'"):
        find("empty@champoin")
    assert find("models:/empty@champion").version == find("empty/2").version == "2"
    with pytest.raises(RegistryError, match="no champion of empty before version 2 is known"):
        rollback(NAME)
