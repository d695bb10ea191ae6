"""The child process of the second engine: ik_llama.cpp, an independent fork, behind the same HTTP route.

Run as a script like `server.py`, with the same protocol: one line of JSON in, one line out, alive while standard input
is open. The package has no server of its own, so this file is one: a single slot, `/v1/chat/completions` streamed as
server-sent events, `/metrics`. `prefill_batch` sets how many prompt tokens are decoded at once.
"""

from __future__ import annotations

import ctypes
import http.server
import importlib.metadata
import json
import os
import random
import sys
import threading


class Engine:
    """One model with one slot; requests wait for each other."""

    def __init__(self, settings: dict) -> None:
        import jinja2
        from ik_llama_cpp import IkLlama, _ctypes_api  # pyright: ignore[reportMissingImports]

        if not settings["template"]:
            raise ValueError("the second engine needs a chat template in the plan's [stack]")
        if settings["kv_cache"] != "f16" or settings["slots"] != 1:
            raise ValueError("the second engine serves one slot with an f16 cache")
        self.model = IkLlama(
            settings["path"],
            n_ctx=settings["slot_tokens"],
            n_threads=settings["threads"],
            flash_attn=settings["flash_attention"] == "on",
            verbose=False,
        )
        self.api, self.library = _ctypes_api, _ctypes_api._lib
        for name, arguments, result in (
            ("llama_add_bos_token", [ctypes.c_void_p], ctypes.c_bool),
            ("llama_kv_cache_seq_rm", [ctypes.c_void_p, ctypes.c_int, ctypes.c_int, ctypes.c_int], ctypes.c_bool),
        ):  # the package does not declare these two
            getattr(self.library, name).argtypes, getattr(self.library, name).restype = arguments, result
        self.bos = bool(self.library.llama_add_bos_token(self.model._model.model))
        self.batch = settings["prefill_batch"] or self.model._context._n_ubatch
        self.template = jinja2.Environment().from_string(settings["template"])
        self.limit, self.reuse = settings["slot_tokens"], settings["prefix_cache"]
        self.cached: list[int] = []
        self.lock = threading.Lock()
        self.totals = {"prompt_tokens_total": 0, "tokens_predicted_total": 0}
        self.waiting = 0
        self.draw = random.Random()

    def complete(self, body: dict) -> tuple[str, str, int, int, int]:
        """Text, finish reason, prompt tokens, cached ones, answer tokens. Raises OverflowError for too long a prompt."""
        prompt = self.template.render(messages=body["messages"], add_generation_prompt=True)
        tokens = self.model.tokenize(prompt, add_bos=self.bos, special=True)
        room = self.limit - len(tokens)
        if room < 1:
            raise OverflowError(len(tokens))
        asked = min(int(body.get("max_tokens") or room), room)
        self.waiting += 1
        with self.lock:
            self.waiting -= 1
            kept = self._prefill(tokens)
            warmth = float(body.get("temperature", 0.8))
            text, finish, written = self._decode(len(tokens), asked, warmth, body.get("stop") or [])
            self.totals["prompt_tokens_total"] += len(tokens) - kept
            self.totals["tokens_predicted_total"] += written
        return text, finish, len(tokens), kept, written

    def _prefill(self, tokens: list[int]) -> int:
        """Decode the prompt but for the prefix that the cache holds; returns that prefix's length."""
        from ik_llama_cpp._internals import make_batch_range  # pyright: ignore[reportMissingImports]

        kept = 0
        while self.reuse and kept < min(len(self.cached), len(tokens) - 1) and self.cached[kept] == tokens[kept]:
            kept += 1
        if kept == 0 or not self.library.llama_kv_cache_seq_rm(self.model.ctx, 0, kept, -1):
            self.model._context.kv_cache_clear()
            kept = 0
        for start in range(kept, len(tokens), self.batch):
            part = tokens[start : start + self.batch]
            batch = make_batch_range(part, pos_start=start, logits_last=start + len(part) == len(tokens))
            failed = self.model._context.decode(batch)
            self.api.llama_batch_free(batch)
            if failed:
                self.cached = []
                raise RuntimeError(f"llama_decode returned {failed}")
        self.cached = list(tokens)
        return kept

    def _decode(self, position: int, asked: int, temperature: float, stop: list[str]) -> tuple[str, str, int]:
        """Token by token until the model ends, a stop string, or the limit."""
        from ik_llama_cpp._internals import make_batch_single  # pyright: ignore[reportMissingImports]

        made: list[int] = []
        text = ""
        while len(made) < asked:
            token = self._pick(temperature)
            if self.api.llama_token_is_eog(self.model._model.model, token):
                return text, "stop", len(made)
            made.append(token)
            text = self.model.detokenize(made)
            cuts = [place for word in stop if (place := text.find(word)) >= 0]
            if cuts:
                return text[: min(cuts)], "stop", len(made)
            batch = make_batch_single(token, position)
            failed = self.model._context.decode(batch)
            self.api.llama_batch_free(batch)
            if failed:
                break
            self.cached.append(token)
            position += 1
        return text, "length", len(made)

    def _pick(self, temperature: float) -> int:
        """The likeliest token, or one drawn with top-k 40, top-p 0.95 as llama.cpp does by default."""
        import numpy as np

        logits = np.ctypeslib.as_array(self.model._context.get_logits(-1), (self.model._model.n_vocab,))
        if temperature <= 0:
            return int(logits.argmax())
        best = np.argsort(logits)[::-1][:40]
        share = np.exp((logits[best] - logits[best[0]]) / temperature)
        share /= share.sum()
        keep = int(np.searchsorted(np.cumsum(share), 0.95)) + 1
        return int(self.draw.choices(best[:keep].tolist(), share[:keep].tolist())[0])


class Handler(http.server.BaseHTTPRequestHandler):
    """The two routes."""

    engine: Engine
    protocol_version = "HTTP/1.0"  # the end of the connection is the end of the stream

    def log_message(self, format: str, *args) -> None:
        """Nothing is logged: a prompt is nobody's business."""

    def _send(self, status: int, kind: str, content: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.end_headers()
        self.wfile.write(content)

    def do_GET(self) -> None:
        """`/metrics` with the engine's totals, named as llama.cpp names them."""
        totals = "".join(f"# TYPE llamacpp:{n} counter\nllamacpp:{n} {v}\n" for n, v in self.engine.totals.items())
        self._send(200, "text/plain", (totals + f"llamacpp:requests_deferred {self.engine.waiting}\n").encode())

    def do_POST(self) -> None:
        """One chat completion."""
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        try:
            text, finish, read, kept, written = self.engine.complete(body)
        except OverflowError:
            error = {"error": {"type": "exceed_context_size_error", "code": 400}}
            return self._send(400, "application/json", json.dumps(error).encode())
        usage = {"prompt_tokens": read, "completion_tokens": written, "prompt_tokens_details": {"cached_tokens": kept}}
        events = [
            {"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": None}]},
            {"choices": [{"index": 0, "delta": {}, "finish_reason": finish}]},
            {"choices": [], "usage": usage},
        ]
        lines = [f"data: {json.dumps(event)}\n\n" for event in events]
        return self._send(200, "text/event-stream", ("".join(lines) + "data: [DONE]\n\n").encode())


def main() -> int:
    """Start, announce, wait for the end of standard input."""
    settings = json.loads(sys.stdin.readline())
    announce = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # the engine prints to standard output, which here carries only the announcement
    try:
        Handler.engine = Engine(settings)
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    except (ImportError, RuntimeError, ValueError, OSError) as error:
        print(json.dumps({"error": f"{type(error).__name__}: {error}"}), file=announce, flush=True)
        return 1
    threading.Thread(target=server.serve_forever, daemon=True).start()
    version = importlib.metadata.version("ik-llama-cpp-python")
    print(json.dumps({"port": server.server_port, "version": f"ik-llama-cpp-python {version}"}), file=announce, flush=True)
    sys.stdin.read()
    os._exit(0)


if __name__ == "__main__":
    sys.exit(main())
