"""The child process of the local stack: one llama.cpp server, alive while its standard input is open.

Run as a script, which imports nothing of this package, so that it starts at once and stays small. It reads one line of
JSON (the fields of `plan.ServerSettings` and the weights' path) from standard input, starts the server on a free
loopback port, writes one line of JSON (`{"port": ..., "version": ...}` or `{"error": ...}`) to standard output and
waits until standard input closes. When the parent dies, by whatever signal, the pipe closes and the server goes too.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import sys

FLASH = {"on": "ENABLED", "off": "DISABLED", "auto": "AUTO"}


def parameters(settings: dict):
    """The `xllamacpp.CommonParams` of these settings (keys as `plan.ServerSettings`, and `path`)."""
    import xllamacpp  # pyright: ignore[reportMissingImports]

    params = xllamacpp.CommonParams()
    params.model.path = settings["path"]
    params.hostnames = ["127.0.0.1"]
    params.port = 0
    params.n_parallel = settings["slots"]
    params.n_ctx = settings["slots"] * settings["slot_tokens"]
    # The defaults adapt to free memory and keep prompts of other requests: a measured server must do neither.
    params.fit_params = False
    params.cache_ram_mib = 0
    params.cache_prompt = settings["prefix_cache"]
    params.swa_full = True  # else a prompt prefix cannot be reused by models with sliding-window attention
    kind = getattr(xllamacpp.ggml_type, f"GGML_TYPE_{settings['kv_cache'].upper()}")
    params.cache_type_k = params.cache_type_v = kind
    flash = FLASH[settings["flash_attention"]]
    params.flash_attn_type = getattr(xllamacpp.llama_flash_attn_type, f"LLAMA_FLASH_ATTN_TYPE_{flash}")
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = settings["threads"]
    if settings["draft"]:
        drafting = params.speculative
        drafting.types = [xllamacpp.common_speculative_type.COMMON_SPECULATIVE_TYPE_DRAFT_SIMPLE]
        drafting.draft.mparams.path = settings["draft"]
        drafting.draft.n_max = settings["draft_tokens"]
        drafting.draft.cpuparams.n_threads = drafting.draft.cpuparams_batch.n_threads = settings["threads"]
    if settings["prefill_batch"]:
        params.n_batch = params.n_ubatch = settings["prefill_batch"]
    params.endpoint_metrics = True
    params.verbosity = 0
    if settings["template"]:
        params.chat_template = settings["template"]
    return params


def main() -> int:
    """Start, announce, wait for the end of standard input."""
    settings = json.loads(sys.stdin.readline())
    announce = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # the engine prints to standard output, which here carries only the announcement
    import xllamacpp  # pyright: ignore[reportMissingImports]

    try:
        server = xllamacpp.Server(parameters(settings))
    except (RuntimeError, ValueError, AttributeError) as error:
        print(json.dumps({"error": f"{type(error).__name__}: {error}"}), file=announce, flush=True)
        return 1
    port = int(str(server.listening_address).rsplit(":", 1)[-1].rstrip("/"))
    version = f"xllamacpp {importlib.metadata.version('xllamacpp')}"
    print(json.dumps({"port": port, "version": version}), file=announce, flush=True)
    sys.stdin.read()
    os._exit(0)  # the engine's own shutdown waits for open connections; there is nothing to save


if __name__ == "__main__":
    sys.exit(main())
