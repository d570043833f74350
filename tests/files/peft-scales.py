# Makes peft-scales.json: what PEFT multiplies the factors of an adapter by, after it was saved and loaded again.
# pip install peft==0.21.0 torch safetensors; python tests/files/peft-scales.py
import json
import pathlib
import tempfile

import peft
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors import safe_open

KEPT = ("r", "lora_alpha", "alpha_pattern", "rank_pattern", "use_rslora", "init_lora_weights", "peft_type")


def linear():
    return torch.nn.Linear(8, 8)


def block():
    return torch.nn.ModuleDict({"q": linear(), "k": linear(), "fc": torch.nn.ModuleDict({"q": linear()})})


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.blocks = torch.nn.ModuleList([block() for _ in range(12)])
        self.query = linear()


cases = []


def case(name, **settings):
    net = get_peft_model(Net(), LoraConfig(target_modules=["q", "k", "query"], **settings))
    with tempfile.TemporaryDirectory() as folder:
        net.save_pretrained(folder)
        saved = json.loads(pathlib.Path(folder, "adapter_config.json").read_text())
        loaded = dict(PeftModel.from_pretrained(Net(), folder).named_modules())
        file = safe_open(folder + "/adapter_model.safetensors", "pt")
        ranks = {key.removesuffix(".lora_A.weight"): file.get_slice(key).get_shape()[0] for key in file.keys() if "lora_A" in key}
    modules = {module: [rank, loaded[module].scaling["default"]] for module, rank in ranks.items()}
    cases.append({"name": name, "config": {key: saved[key] for key in KEPT}, "modules": modules})


case("a class of digits", r=2,lora_alpha=2,alpha_pattern={r"blocks\.\d\.q":32})
case("alternatives", r=2,lora_alpha=2,alpha_pattern={"q|k":32})
case("a plain name", r=2,lora_alpha=2,alpha_pattern={"q":32})
case("an anchored name", r=2,lora_alpha=2,alpha_pattern={r"^blocks\.1\.q":32, r"^q":8})
case("ranks and strengths", r=2,lora_alpha=8,rank_pattern={r"blocks\.\d\.q":4, r".*\.(k|query)":3},alpha_pattern={r"blocks\.1\d?\.[qk]":6})
case("the order of the file", r=2,lora_alpha=2,alpha_pattern={r"blocks\.[0-4]\.q":16, r"q":32, r"[kq]":64})
case("root of the rank", r=4,lora_alpha=2,use_rslora=True,alpha_pattern={r"fc\.q":5, r"(?:blocks\.)?1{1,2}\.k":7})
case("two keys match, trained otherwise", r=2,lora_alpha=2,alpha_pattern={r"q":32, r"blocks\.\d\.q":16})
case("lookahead", r=2,lora_alpha=2,alpha_pattern={r"blocks\.(?!1\.)\d+\.q":16, r"(?<=11\.)k":4})
made_by = f"PEFT {peft.__version__}"
pathlib.Path(__file__).with_suffix(".json").write_text(json.dumps({"madeBy": made_by, "cases": cases}) + "\n")
