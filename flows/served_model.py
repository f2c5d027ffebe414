"""The registered model itself, logged as code: an ONNX folder run by `components.runtime`."""

from pathlib import Path

from mlflow.models import set_model
from mlflow.pyfunc.model import PythonModel, PythonModelContext
from pydantic import BaseModel, ConfigDict, Field

from components.runtime.served import open_served


class Turn(BaseModel):
    """One turn of a conversation."""

    role: str
    content: str


class Request(BaseModel):
    """One question: `text`, put to the model as in training, or a whole conversation.

    The rest says how to choose the next token: `temperature` 0 is greedy. It stands here because
    MLflow drops `params` where `predict` has type hints.
    """

    model_config = ConfigDict(extra="forbid")

    text: str | None = None
    messages: list[Turn] | None = None
    max_new_tokens: int = Field(64, ge=1)
    temperature: float = Field(0.0, ge=0)
    top_k: int = Field(0, ge=0)
    top_p: float = Field(1.0, gt=0, le=1)
    repetition_penalty: float = Field(1.0, gt=0)
    seed: int = 0


class ServedModel(PythonModel):
    """Answers each request with text. `model_config` holds the system turn and the template."""

    def load_context(self, context: PythonModelContext) -> None:
        config = context.model_config
        self.system: str | None = config.get("system")
        self.template: str = config.get("template") or "{text}"
        folder = Path(context.artifacts["model"])
        self.model = open_served(folder, device=config.get("device") or "cpu")

    def predict(self, model_input: list[Request]) -> list[str]:  # type: ignore[override]
        return [self.answer(request) for request in model_input]

    def answer(self, request: Request) -> str:
        """Return the answer to one request; raise `ValueError` unless it asks exactly one thing."""
        how = request.model_dump(exclude={"text", "messages"})
        return self.model.answer(self.conversation(request), **how)

    def conversation(self, request: Request) -> list[dict[str, str]]:
        """Return the turns as the model was trained to read them."""
        if (request.text is None) == (request.messages is None):
            raise ValueError("give either 'text' or 'messages'")
        if request.messages is not None:
            return [turn.model_dump() for turn in request.messages]
        content = self.template.replace("{text}", str(request.text))
        system = [{"role": "system", "content": self.system}] if self.system else []
        return [*system, {"role": "user", "content": content}]


set_model(ServedModel())
