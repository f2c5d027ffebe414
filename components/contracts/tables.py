"""The columns of the tables inside artefacts: written by one room, read by others."""

import pyarrow as pa

IGNORED = -100
"""The label of a token that is not trained on (the value that PyTorch's cross-entropy skips)."""


def dataset_schema() -> pa.Schema:
    """One accepted row: where it came from, its own text, and the conversation made of it.

    `id` is a hash of the content. `messages` is a JSON list of {"role", "content"} (and what
    `components.formats.example.Message` names beside these); when it is not empty its last turn is
    the answer to learn, and `answer` repeats it as text. `choices` are the label
    words (empty for free answers), `target` the index of the right one or -1. `rejected` is the
    text of the answer that was not preferred ("" if none). `references` are all accepted answers,
    `answer` first. A row of plain text has no messages and no references and is learned whole.
    """
    return pa.schema(
        [
            ("id", pa.string()),
            ("source", pa.string()),
            ("row", pa.int64()),
            ("text", pa.string()),
            ("messages", pa.string()),
            ("answer", pa.string()),
            ("choices", pa.list_(pa.string())),
            ("target", pa.int64()),
            ("rejected", pa.string()),
            ("references", pa.list_(pa.string())),
        ]
    )


def tokens_schema() -> pa.Schema:
    """One row as token ids, with its line of the supervision ledger.

    `labels` has the length of `input_ids`, with `IGNORED` where a token is not trained on.
    `input_ids[:prompt_tokens]` is exactly what the model is given at inference. `answer_ids` ends
    with the end-of-sequence token, and so does `rejected_ids`, the worse answer of a preference row
    (empty if there is none); `choice_ids` are the label words without it. `text_ids` is the row's
    own text without template or special tokens and `text_bytes` its UTF-8 length (in the train
    split, which is not scored, `text_ids` is left empty for conversations).

    `answer_spans` are begin and end, in `input_ids`, of one answer after the other, each with its
    end-of-sequence token: those that inference would have been asked for just like this. `answers`
    counts all turns of the assistant, `trained_answers` those of which something is trained.
    `eos_trained` says that each of these is trained to end.
    """
    ids = pa.list_(pa.int32())
    return pa.schema(
        [
            ("id", pa.string()),
            ("input_ids", ids),
            ("labels", ids),
            ("length", pa.int32()),
            ("prompt_tokens", pa.int32()),
            ("answer_ids", ids),
            ("rejected_ids", ids),
            ("choice_ids", pa.list_(ids)),
            ("target", pa.int32()),
            ("text_ids", ids),
            ("text_bytes", pa.int32()),
            ("answer_spans", ids),
            ("answers", pa.int32()),
            ("trained_answers", pa.int32()),
            ("trained_tokens", pa.int32()),
            ("truncated_tokens", pa.int32()),
            ("eos_trained", pa.bool_()),
            ("bos_doubled", pa.bool_()),
        ]
    )
