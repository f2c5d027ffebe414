"""The registered model itself, logged as code: an ONNX folder run by `components.runtime`.

A row asks one thing: `text`, put to the model as in training, or `messages`, a conversation as
OpenAI's clients write it. `params` say how to answer all rows; a row may say otherwise for itself.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from mlflow.models import ModelSignature, set_model
from mlflow.pyfunc.model import PythonModel, PythonModelContext
from mlflow.types import ColSpec, DataType, ParamSchema, ParamSpec, Schema
from mlflow.types.schema import AnyType, Array, Object, Property
from pydantic import BaseModel, ConfigDict, Field, model_validator

from components.runtime.shape import Prompt, Shape
from components.runtime.text import TextModel


class Turn(BaseModel):
    """One turn of a conversation."""

    model_config = ConfigDict(extra="ignore")

    role: str
    content: str


class Request(BaseModel):
    """One question. `temperature` 0 is greedy; `stop` ends the answer and is not given."""

    model_config = ConfigDict(extra="forbid")

    text: str | None = None
    messages: list[Turn] | None = None
    max_new_tokens: int = Field(64, ge=1)
    temperature: float = Field(0.0, ge=0)
    top_k: int = Field(0, ge=0)
    top_p: float = Field(1.0, gt=0, le=1)
    repetition_penalty: float = Field(1.0, gt=0)
    stop: list[str] = Field(default_factory=list)
    seed: int = 0

    @model_validator(mode="after")
    def _one_question(self) -> Self:
        if (self.text is None) == (self.messages is None):
            raise ValueError("give either 'text' or 'messages'")
        return self

    @property
    def settings(self) -> dict[str, Any]:
        return self.model_dump(exclude={"text", "messages"})


TURNS = Array(Object([Property("role", DataType.string), Property("content", DataType.string)]))
SETTINGS = ("max_new_tokens", "temperature", "top_k", "top_p", "repetition_penalty", "stop", "seed")
ANY: Any = AnyType()  # type: ignore[no-untyped-call]
SIGNATURE = ModelSignature(
    inputs=Schema(
        [
            ColSpec(DataType.string, "text", required=False),
            ColSpec(TURNS, "messages", required=False),
            # Some rows may leave them out, and pandas then makes other types of them.
            *(ColSpec(ANY, name, required=False) for name in SETTINGS),
        ]
    ),
    outputs=Schema([ColSpec(DataType.string)]),
    params=ParamSchema(
        [
            ParamSpec("max_new_tokens", DataType.long, 64),
            ParamSpec("temperature", DataType.double, 0.0),
            ParamSpec("top_k", DataType.long, 0),
            ParamSpec("top_p", DataType.double, 1.0),
            ParamSpec("repetition_penalty", DataType.double, 1.0),
            ParamSpec("stop", DataType.string, [], shape=(-1,)),
            ParamSpec("seed", DataType.long, 0),
        ]
    ),
)


class ServedModel(PythonModel):
    """Answers each row with text. `model_config` holds the shape of the rows it was trained on."""

    def load_context(self, context: PythonModelContext) -> None:
        config = context.model_config
        self.shape = Shape.of(config)
        folder = Path(context.artifacts["model"])
        self.model = TextModel(folder, device=config.get("device") or "cpu")

    # Without type hints: MLflow takes every hint for a schema, and warns where it is none.
    def predict(self, context, model_input, params=None):  # type: ignore[no-untyped-def]
        """Return the answers to a table or a list of rows, as texts.

        Raises `pydantic.ValidationError` for a row that does not ask exactly one thing.
        """
        del context
        return [self.answer(read_row(row, params or {})) for row in rows(model_input)]

    def answer(self, request: Request) -> str:
        return self.model.answer(self.prompt(request), **request.settings)

    def prompt(self, request: Request) -> Prompt:
        """Return the question as the model was trained to read it."""
        if request.messages is not None:
            return self.shape.turns([turn.model_dump() for turn in request.messages])
        return self.shape.ask(str(request.text))


def rows(model_input: Any) -> list[dict[str, Any]]:
    """Return MLflow's input, a table or already rows, as one mapping a row."""
    if hasattr(model_input, "to_dict"):
        found: list[dict[str, Any]] = model_input.to_dict("records")
        return found
    return [dict(model_input)] if isinstance(model_input, Mapping) else list(model_input)


def read_row(row: Mapping[str, Any], params: Mapping[str, Any]) -> Request:
    """Return the request of a row; what it leaves empty is told by `params`."""
    given = {key: plain(value) for key, value in {**params, **_filled(row)}.items()}
    return Request.model_validate(given)


def _filled(row: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out what a table has to write where a row has nothing."""
    return {key: value for key, value in row.items() if value is not None and value == value}


def plain(value: Any) -> Any:
    """Return NumPy's values as Python's."""
    return value.tolist() if hasattr(value, "tolist") else value


set_model(ServedModel())
