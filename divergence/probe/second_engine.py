"""The child process of the second engine: ik_llama.cpp, an independent fork, behind the same HTTP route.

Run as a script like `server.py`, with the same protocol: one line of JSON in, one line out, alive while standard input
is open. The package has no server of its own, so this file is one: a single slot, `/v1/chat/completions` streamed as
server-sent events, `/metrics`. `prefill_batch` sets how many prompt tokens are decoded at once.
"""

from __future__ import annotations

import http.server
import importlib.metadata
import json
import os
import sys
import threading


class Engine:
    """One model with one slot; requests wait for each other."""

    def __init__(self, settings: dict) -> None:
        import jinja2
        from ik_llama_cpp import IkLlama  # pyright: ignore[reportMissingImports]

        if not settings["template"]:
            raise ValueError("the second engine needs a chat template in the plan's [stack]")
        if settings["kv_cache"] != "f16" or settings["slots"] != 1:
            raise ValueError("the second engine serves one slot with an f16 cache")
        self.model = IkLlama(settings["path"], n_ctx=settings["slot_tokens"], n_threads=settings["threads"],
                             flash_attn=settings["flash_attention"] == "on", verbose=False)
        if settings["prefill_batch"]:
            self.model._context._n_ubatch = settings["prefill_batch"]  # the package offers no other way
        self.template = jinja2.Environment(trim_blocks=False).from_string(settings["template"])
        self.limit = settings["slot_tokens"]
        self.lock = threading.Lock()
        self.totals = {"prompt_tokens_total": 0, "tokens_predicted_total": 0}
        self.waiting = 0

    def complete(self, body: dict) -> tuple[str, str, int, int]:
        """Text, finish reason, prompt tokens, answer tokens. Raises OverflowError when the prompt is too long."""
        prompt = self.template.render(messages=body["messages"], add_generation_prompt=True)
        tokens = self.model.tokenize(prompt, add_bos=False, special=True)
        room = self.limit - len(tokens)
        if room < 1:
            raise OverflowError(len(tokens))
        asked = min(int(body.get("max_tokens") or room), room)
        self.waiting += 1
        with self.lock:
            self.waiting -= 1
            made = self.model.generate(
                tokens, max_tokens=asked, temperature=float(body.get("temperature", 0.8)),
                top_k=int(body.get("top_k", 40)), top_p=float(body.get("top_p", 0.95)))
            self.totals["prompt_tokens_total"] += len(tokens)
            self.totals["tokens_predicted_total"] += len(made)
        text = self.model.detokenize(made)
        cuts = [place for stop in body.get("stop") or [] if (place := text.find(stop)) >= 0]
        finish = "stop" if cuts or len(made) < asked else "length"
        return text[: min(cuts)] if cuts else text, finish, len(tokens), len(made)


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
            text, finish, read, written = self.engine.complete(body)
        except OverflowError:
            error = {"error": {"type": "exceed_context_size_error", "code": 400}}
            return self._send(400, "application/json", json.dumps(error).encode())
        events = [
            {"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": None}]},
            {"choices": [{"index": 0, "delta": {}, "finish_reason": finish}]},
            {"choices": [], "usage": {"prompt_tokens": read, "completion_tokens": written}},
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
