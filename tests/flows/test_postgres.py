"""Prefect and MLflow on a real PostgreSQL: a flow runs, MLflow logs, the champion moves."""

import sys

import pytest
from made_versions import NAME, make_versions
from postgres import postgres_server
from toy_project import STAGES, Toy

from flows.record import read_record

pytestmark = pytest.mark.slow


def test_the_line_runs_on_postgres(toy: Toy, monkeypatch: pytest.MonkeyPatch) -> None:
    psycopg2 = pytest.importorskip("psycopg2", reason="needs psycopg2 (pip install '.[postgres]')")
    with postgres_server("prefect", "mlflow") as address:
        stores = {
            "PREFECT_API_DATABASE_CONNECTION_URL": f"postgresql+asyncpg://line@{address}/prefect",
            "MLFLOW_TRACKING_URI": f"postgresql://line@{address}/mlflow",
            "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "900",
        }
        toy.turn("train", "curve")
        done = toy.run(sys.executable, "-m", "flows.cli", "run", "toy", **stores)
        assert done.returncode == 0, done.stdout + done.stderr
        assert set(toy.calls()) == set(STAGES)
        record = read_record(toy.root, "toy")
        assert record is not None

        def asked(database: str, query: str) -> list[tuple[object, ...]]:
            connection = psycopg2.connect(f"postgresql://line@{address}/{database}")
            with connection, connection.cursor() as cursor:
                cursor.execute(query)
                found = list(cursor.fetchall())
            connection.close()
            return found

        runs = "SELECT id::text, state_name FROM flow_run"
        assert asked("prefect", runs) == [(record.prefect_flow_run_id, "Completed")]
        tags = f"SELECT value FROM tags WHERE run_uuid = '{record.mlflow_run_id}' AND key = "
        assert asked("mlflow", tags + "'prefect.flow_run_id'") == [(record.prefect_flow_run_id,)]
        points = f"SELECT count(*) FROM metrics WHERE run_uuid = '{record.mlflow_run_id}'"
        assert asked("mlflow", points + " AND key = 'loss'") == [(3,)]
        assert not (toy.root / ".tuneline/prefect.db").exists()

        toy.enter(monkeypatch)
        for name, value in stores.items():
            monkeypatch.setenv(name, value)
        from flows.registry_alias import champion, swap

        make_versions(toy, 2)
        swap(NAME, None, "1", "gate")
        swap(NAME, "1", "2", "promote")
        assert champion(NAME) == "2"
