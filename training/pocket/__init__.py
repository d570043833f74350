"""Trains the pocket MAGI-1: data world, tokenizer, T5 encoder, ViT VAE, transformer, distillation."""
