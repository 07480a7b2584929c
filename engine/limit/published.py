"""What the LIMIT paper measured (arXiv:2508.21038v2, Table 4 and its curves): recall@2 on LIMIT-small, in percent."""

__all__ = ["CURVES"]

DIMS = (32, 64, 128, 256, 512, 768, 1024, 2048, 3072, 4096)
RECALLS = {
    "E5-Mistral 7B": (7.9, 10.2, 14.5, 15.3, 22.2, 21.6, 24.5, 28.9, 29.9, 29.5),
    "GritLM 7B": (7.8, 9.4, 14.2, 17.3, 21.8, 23.8, 26.2, 33.0, 36.3, 38.4),
    "Promptriever Llama3 8B": (6.1, 8.9, 13.7, 18.5, 27.0, 35.5, 38.0, 46.2, 49.2, 54.3),
    "Qwen3 Embedding": (8.3, 9.4, 11.6, 14.3, 16.1, 17.2, 17.8, 19.5, 19.3, 19.0),
    "Gemini Embedding": (6.3, 6.9, 7.7, 14.6, 23.3, 28.8, 31.8, 31.9, 33.7),
    "Snowflake Arctic L": (8.3, 9.0, 12.7, 16.0, 16.7, 17.9, 19.4),
}
CURVES = {name: dict(zip(DIMS, recalls, strict=False)) for name, recalls in RECALLS.items()}
