"""`tuneline batch-predict IN OUT`: a file of rows, answered by a registered model."""

import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from components.contracts.errors import ModelError
from flows.talk import (
    AsJson,
    DeviceOption,
    MaxNewTokens,
    Penalty,
    Seed,
    Stop,
    System,
    Temperature,
    Threads,
    TopK,
    TopP,
    open_model,
    unescaped,
)

ModelOption = Annotated[
    str,
    typer.Option(
        "--model",
        "-m",
        help="NAME@champion, NAME@VERSION, models:/NAME/VERSION, or a folder of exported files.",
    ),
]


def batch_predict(
    source: Annotated[
        Path, typer.Argument(metavar="IN", help="Rows: .jsonl, .csv, .tsv, .parquet …")
    ],
    out: Annotated[Path, typer.Argument(metavar="OUT", help=".jsonl, .csv or .parquet.")],
    model: ModelOption,
    column: Annotated[
        str | None, typer.Option(help="The column with the text, or with a list of turns.")
    ] = None,
    labels: Annotated[
        bool | None,
        typer.Option(
            "--labels/--no-labels",
            help="A label with probabilities, or free text; if not said, as it was trained.",
        ),
    ] = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Rows answered together.")] = 16,
    chunk_rows: Annotated[
        int, typer.Option(min=1, help="Rows sorted by length and kept together.")
    ] = 512,
    prefix: Annotated[str, typer.Option(help="What the names of the new columns begin with.")] = "",
    max_new_tokens: MaxNewTokens = 256,
    temperature: Temperature = 0.0,
    top_k: TopK = 0,
    top_p: TopP = 1.0,
    repetition_penalty: Penalty = 1.0,
    stop: Stop = None,
    seed: Seed = 0,
    system: System = None,
    device: DeviceOption = None,
    threads: Threads = 0,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace OUT.")] = False,
    restart: Annotated[
        bool, typer.Option("--restart", help="Forget what an interrupted run has finished.")
    ] = False,
    ray: Annotated[
        str | None,
        typer.Option(metavar="ADDRESS", help="A Ray cluster to answer on; local: one here."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Answer every row of IN. Run it again after a crash: finished rows are kept.

    Exit status 1: some rows have no answer; OUT.errors.jsonl says which and why.
    """
    from components.runtime.generate import Generation
    from components.runtime.predict import Predictor
    from flows.batch_run import Job, predict_file
    from flows.batch_spread import Elsewhere
    from flows.environment import ray_address
    from flows.model_bytes import model_bytes
    from flows.progress import Bars, listener
    from flows.spread import spread_over

    generation = Generation(
        max_new_tokens=max_new_tokens,
        temperature=temperature,
        top_k=top_k,
        top_p=top_p,
        repetition_penalty=repetition_penalty,
        seed=seed,
    )
    found, opened = open_model(model, device, threads)
    names = found.shape.labels
    if labels and not names:
        raise ModelError(f"{found.title} knows no labels", fix="leave --labels out")
    predictor = Predictor(
        opened,
        found.shape,
        generation,
        tuple(unescaped(one) for one in stop or []),
        system,
        batch_size,
        bool(names) if labels is None else labels,
    )
    job = Job(
        source, out, predictor, model_bytes(found), column, prefix, chunk_rows, overwrite, restart
    )
    events = listener(sys.stderr)
    shown = events if isinstance(events, Bars) else nullcontext()
    with shown, spread_over(ray or ray_address()) as spread:
        elsewhere = Elsewhere(spread, opened.folder, found.device, threads) if spread else None
        done = predict_file(job, events, elsewhere)
    told: dict[str, Any] = {
        "model": found.title,
        "device": found.device,
        "rows": done.rows,
        "reused": done.reused,
        "errors": done.faults,
        "out": str(out),
    }
    if as_json:
        import json

        print(json.dumps(told, indent=2))
    else:
        _tell(told, job.errors)
    if done.faults:
        raise typer.Exit(1)


def _tell(told: dict[str, Any], errors: Path) -> None:
    console = Console(highlight=False)
    kept = f", {told['reused']} of them kept from before" if told["reused"] else ""
    console.print(
        f"{told['rows']} rows answered by {told['model']} on {told['device']}{kept}: {told['out']}",
        soft_wrap=True,
    )
    if told["errors"]:
        console.print(
            f"{told['errors']} rows have no answer: see {errors}", style="red", soft_wrap=True
        )
