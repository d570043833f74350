"""Trains the unigram tokenizer on captions: `python -m pocket.tokenizer --output spiece.model`."""

import argparse
import io
import string
from pathlib import Path

import numpy as np
import sentencepiece

from .captions import caption_chunks
from .scenes import sample_scene

PIECES = 284  # what the captions give; 100 more rows of the embedding are T5's extra ids
NULL_ROWS = 50


def train(path: Path, captions: int = 20000) -> None:
    rng = np.random.default_rng(7)
    lines = (caption_chunks(rng, sample_scene(rng, 48))[-1].lower() for _ in range(captions))
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=lines,
        model_writer=model,
        vocab_size=PIECES,
        model_type="unigram",
        character_coverage=1.0,
        required_chars=string.printable.strip(),
        pad_id=0,
        eos_id=1,
        unk_id=2,
        bos_id=-1,
        hard_vocab_limit=False,
        normalization_rule_name="identity",  # prompts are cleaned before; the map for NFKC alone has 240 KB
        num_threads=1,
        minloglevel=2,
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(model.getvalue())


class Tokenizer:
    def __init__(self, path: Path):
        self.model = sentencepiece.SentencePieceProcessor(model_file=str(path))

    def ids(self, text: str) -> list[int]:
        """Lower case, as the cleaning of prompts does; ends with 1, cut to 50."""
        return self.model.encode(text.lower())[: NULL_ROWS - 1] + [1]


if __name__ == "__main__":
    args = argparse.ArgumentParser()
    args.add_argument("--output", type=Path, required=True)
    train(args.parse_args().output)
