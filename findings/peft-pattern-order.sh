#!/usr/bin/env bash
# peft: an adapter whose alpha_pattern or rank_pattern has two keys for one layer is another one after it is saved.
#
# What: the keys of both are regular expressions, and for each layer the first that matches counts, in the order of the
# dictionary. save_pretrained writes adapter_config.json with its keys sorted, the patterns' too. {"q_proj": 16,
# ".*proj": 2} trains q_proj with alpha 16 and comes back with alpha 2: eight times less, in silence. With rank_pattern
# the reloaded adapter does not fit its own weights. Narrow keys before a catch-all are the usual way to write this, and
# "." sorts before every letter.
#
# Why it matters: whoever reads adapter_config.json (loaders of LoRA in other libraries and languages too) cannot know
# the order that was trained with; the file and peft's own loader agree on a scale that training did not have.
#
# Source: peft's LoraConfig documentation (layer names or regular expressions; nothing about order) and the behaviour.
#
# Needs python3 with venv and pip; torch is large. Exits 1 if the behaviour changes.
set -euo pipefail

command -v python3 >/dev/null || { echo 'needs python3'; exit 2; }
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"

python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check \
  torch==2.13.0 peft==0.21.0 transformers==5.18.0 accelerate==1.15.0

cat >try.py <<'PY'
import json
import sys

import peft
import torch
import transformers


class Model(torch.nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.q_proj = torch.nn.Linear(4, 4)

    def forward(self, x):
        return self.q_proj(x)


def trained(name, patterns):
    """An adapter with weights that are not zero, saved; its model, and the keys in the order of the file."""
    config = peft.LoraConfig(
        r=4, lora_alpha=4, target_modules=["q_proj"], init_lora_weights=False, **{name: patterns}
    )
    model = peft.get_peft_model(Model(), config)
    model.save_pretrained(name)
    with open(f"{name}/adapter_config.json") as file:
        return model, list(json.load(file)[name])


layer = lambda model: model.base_model.model.q_proj
print(f"peft {peft.__version__}, torch {torch.__version__}, transformers {transformers.__version__}")
print("Expected: what is loaded is what was saved.")
patterns = {"q_proj": 16, ".*proj": 2}
x = torch.ones(1, 4)

model, keys = trained("alpha_pattern", patterns)
loaded = peft.PeftModel.from_pretrained(Model(), "alpha_pattern")
scales = [layer(m).scaling["default"] for m in (model, loaded)]
apart = (model(x) - loaded(x)).abs().max().item()
print(f"alpha_pattern keys {list(patterns)}, in the file {keys}")
print(f"  scale trained {scales[0]}, loaded {scales[1]}; outputs up to {apart:.2f} apart")
as_found = keys == sorted(patterns) and scales == [4.0, 0.5] and apart > 0.1

model, keys = trained("rank_pattern", patterns)
print(f"rank_pattern keys {list(patterns)}, in the file {keys}")
try:
    peft.PeftModel.from_pretrained(Model(), "rank_pattern")
    message = "loads"
except RuntimeError as error:
    message = next(line.strip() for line in str(error).splitlines() if "size mismatch" in line)
print(f"  rank trained {layer(model).r['default']}; loading: {message}")
as_found = as_found and layer(model).r["default"] == 16 and "[16, 4]" in message and "[2, 4]" in message

print("As found." if as_found else "Changed.")
sys.exit(0 if as_found else 1)
PY
venv/bin/python -W ignore try.py
