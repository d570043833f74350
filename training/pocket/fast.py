"""Training at twice the speed: bfloat16 products, and transformer blocks compiled for each size of batch."""

import torch

HELP = "bfloat16 products and compiled blocks; twice as fast on a CPU with AVX512-BF16, needs a C++ compiler"


def compiled(*networks: torch.nn.Module) -> None:
    torch._dynamo.config.recompile_limit = 64
    for network in networks:
        for block in network.videodit_blocks.layers:
            block.compile(dynamic=False)


def products(args):
    return torch.autocast(torch.device(args.device).type, torch.bfloat16, enabled=args.fast)
