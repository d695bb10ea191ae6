"""Under which names servers publish what about themselves, and what each number means: one vocabulary for all.

A row says which family of which server fills which canonical metric. The meanings that servers disagree on:

    input_tokens        tokens read, those from a cache included (vLLM, SGLang, LiteLLM count so; llama.cpp leaves them out,
                        which is `uncached_input_tokens`, and the sum is made in `metric_pages`)
    cached_tokens       those of them that came from a cache
    itl_s, tpot_s       time between two tokens, one value a token; time per output token, one value a request
    kv_cache_usage      a fraction, also where its name says percent
    batch_size, decode_tokens_per_s, prefill_tokens_per_s   of the window, worked out from totals: averages since the last
                        scrape are those of whoever scraped last, and averages since the start are no window's

Authorities: `vllm/v1/metrics/loggers.py`, `sglang/srt/metrics/collector.py`, `tools/server/README.md` of llama.cpp,
`docs/source/reference/metrics.md` of TGI, `litellm/integrations/prometheus.py`, `etc/default-counters.csv` of DCGM exporter.
"""

from __future__ import annotations

import dataclasses

GAUGE, COUNTER, HISTOGRAM = "gauge", "counter", "histogram"
DROPPED = "dropped"
"""Kind of a family that means nothing outside its own scraper."""
SUM, MEAN, LARGEST = "sum", "mean", "largest"


@dataclasses.dataclass(frozen=True)
class Metric:
    """One family of one server."""

    family: str
    """Its name there, without `_total`."""
    name: str
    """Canonical name of the metric; its unit is in the name where it is no count."""
    kind: str
    """What it is, whatever its page says: gauge, counter, histogram, or dropped."""
    factor: float = 1.0
    """What its numbers are multiplied by to come into the canonical unit."""
    over: str = SUM
    """How its series of one server are put together: sum, mean, or largest (for what every rank repeats)."""
    since: str = ""
    """Version that brought the name, or the last one that has it."""
    total: str = ""
    """Counter that the sum of a histogram also is."""


def _vllm() -> tuple[Metric, ...]:
    return (
        Metric("vllm:num_requests_running", "requests_running", GAUGE),
        Metric("vllm:num_requests_waiting", "requests_waiting", GAUGE),
        Metric("vllm:kv_cache_usage_perc", "kv_cache_usage", GAUGE, over=MEAN, since="0.9"),
        Metric("vllm:gpu_cache_usage_perc", "kv_cache_usage", GAUGE, over=MEAN, since="until 0.10"),
        Metric("vllm:num_preemptions", "preemptions", COUNTER),
        Metric("vllm:prompt_tokens", "input_tokens", COUNTER),
        Metric("vllm:prompt_tokens_cached", "cached_tokens", COUNTER, since="0.15"),
        Metric("vllm:prefix_cache_hits", "prefix_cache_hit_tokens", COUNTER, since="0.9"),
        Metric("vllm:gpu_prefix_cache_hits", "prefix_cache_hit_tokens", COUNTER, since="until 0.10"),
        Metric("vllm:prefix_cache_queries", "prefix_cache_query_tokens", COUNTER, since="0.9"),
        Metric("vllm:gpu_prefix_cache_queries", "prefix_cache_query_tokens", COUNTER, since="until 0.10"),
        Metric("vllm:generation_tokens", "output_tokens", COUNTER),
        Metric("vllm:spec_decode_num_draft_tokens", "draft_tokens", COUNTER),
        Metric("vllm:spec_decode_num_accepted_tokens", "accepted_tokens", COUNTER),
        Metric("vllm:request_success", "requests_finished", COUNTER),
        Metric("vllm:time_to_first_token_seconds", "ttft_s", HISTOGRAM),
        Metric("vllm:inter_token_latency_seconds", "itl_s", HISTOGRAM, since="0.11"),
        Metric("vllm:time_per_output_token_seconds", "itl_s", HISTOGRAM, since="until 0.12"),
        Metric("vllm:request_time_per_output_token_seconds", "tpot_s", HISTOGRAM, since="0.12"),
        Metric("vllm:e2e_request_latency_seconds", "latency_s", HISTOGRAM),
        Metric("vllm:request_queue_time_seconds", "queue_s", HISTOGRAM),
        Metric("vllm:request_prefill_time_seconds", "request_prefill_s", HISTOGRAM),
        Metric("vllm:request_decode_time_seconds", "request_decode_s", HISTOGRAM),
        Metric("vllm:avg_prompt_throughput_toks_per_s", "", DROPPED, since="until 0.8"),
        Metric("vllm:avg_generation_throughput_toks_per_s", "", DROPPED, since="until 0.8"),
    )


def _sglang() -> tuple[Metric, ...]:
    return (
        Metric("sglang:num_running_reqs", "requests_running", GAUGE),
        Metric("sglang:num_queue_reqs", "requests_waiting", GAUGE),
        Metric("sglang:token_usage", "kv_cache_usage", GAUGE, over=MEAN),
        Metric("sglang:cache_hit_rate", "prefix_cache_hit_rate", GAUGE, over=MEAN),
        Metric("sglang:gen_throughput", "output_tokens_per_s", GAUGE),
        Metric("sglang:prompt_tokens", "input_tokens", COUNTER),
        Metric("sglang:generation_tokens", "output_tokens", COUNTER),
        Metric("sglang:cached_tokens", "cached_tokens", COUNTER, since="0.5"),
        Metric("sglang:num_requests", "requests_finished", COUNTER, since="0.5"),
        Metric("sglang:num_retracted_reqs", "requests_retracted", GAUGE),
        Metric("sglang:time_to_first_token_seconds", "ttft_s", HISTOGRAM),
        Metric("sglang:inter_token_latency_seconds", "itl_s", HISTOGRAM, since="0.4.6"),
        Metric("sglang:time_per_output_token_seconds", "tpot_s", HISTOGRAM),
        Metric("sglang:request_time_per_output_token_seconds", "tpot_s", HISTOGRAM, since="0.5.11"),
        Metric("sglang:e2e_request_latency_seconds", "latency_s", HISTOGRAM),
        Metric("sglang:queue_time_seconds", "queue_s", HISTOGRAM, since="0.5"),
    )


def _llama_cpp() -> tuple[Metric, ...]:
    return (
        Metric("llamacpp:prompt_tokens", "uncached_input_tokens", COUNTER),
        Metric("llamacpp:prompt_tokens_cached", "cached_tokens", COUNTER, since="2026"),
        Metric("llamacpp:prompt_seconds", "prefill_s", COUNTER),
        Metric("llamacpp:tokens_predicted", "output_tokens", COUNTER),
        Metric("llamacpp:tokens_predicted_seconds", "decode_s", COUNTER),
        Metric("llamacpp:n_decode", "decode_steps", COUNTER),
        Metric("llamacpp:spec_decode_num_draft_tokens", "draft_tokens", COUNTER),
        Metric("llamacpp:spec_decode_num_accepted_tokens", "accepted_tokens", COUNTER),
        Metric("llamacpp:n_tokens_max", "longest_sequence_tokens", GAUGE, over=LARGEST),  # typed counter, and is a maximum
        Metric("llamacpp:requests_processing", "requests_running", GAUGE),
        Metric("llamacpp:requests_deferred", "requests_waiting", GAUGE),
        Metric("llamacpp:n_busy_slots_per_decode", "busy_slots_since_start", GAUGE, over=MEAN),
        Metric("llamacpp:prompt_tokens_seconds", "", DROPPED),  # tokens a second since the last scrape by anyone
        Metric("llamacpp:predicted_tokens_seconds", "", DROPPED),
    )


def _text_generation_inference() -> tuple[Metric, ...]:
    return (
        Metric("tgi_queue_size", "requests_waiting", GAUGE),
        Metric("tgi_batch_current_size", "requests_running", GAUGE),
        Metric("tgi_request_count", "requests_received", COUNTER),
        Metric("tgi_request_success", "requests_finished", COUNTER),
        Metric("tgi_request_failure", "requests_failed", COUNTER),
        Metric("tgi_request_duration", "latency_s", HISTOGRAM),
        Metric("tgi_request_queue_duration", "queue_s", HISTOGRAM),
        Metric("tgi_request_inference_duration", "request_inference_s", HISTOGRAM),
        Metric("tgi_request_mean_time_per_token_duration", "tpot_s", HISTOGRAM),
        Metric("tgi_request_generated_tokens", "request_output_tokens", HISTOGRAM, total="output_tokens"),
        Metric("tgi_request_input_length", "request_input_tokens", HISTOGRAM, total="input_tokens"),
    )


def _litellm() -> tuple[Metric, ...]:
    return (
        Metric("litellm_spend_metric", "cost_usd", COUNTER),
        Metric("litellm_input_tokens_metric", "input_tokens", COUNTER),
        Metric("litellm_output_tokens_metric", "output_tokens", COUNTER),
        Metric("litellm_input_cached_tokens_metric", "cached_tokens", COUNTER),
        Metric("litellm_output_reasoning_tokens_metric", "reasoning_tokens", COUNTER),
        Metric("litellm_proxy_total_requests_metric", "requests_received", COUNTER),
        Metric("litellm_proxy_failed_requests_metric", "requests_failed", COUNTER),
        Metric("litellm_request_total_latency_metric", "latency_s", HISTOGRAM),
        Metric("litellm_llm_api_time_to_first_token_metric", "ttft_s", HISTOGRAM),
        Metric("litellm_request_queue_time_seconds", "queue_s", HISTOGRAM),
    )


def _dcgm() -> tuple[Metric, ...]:
    percent, mebibyte = 0.01, 1048576.0
    return (
        Metric("DCGM_FI_DEV_GPU_UTIL", "gpu_utilisation", GAUGE, percent, MEAN),
        Metric("DCGM_FI_DEV_MEM_COPY_UTIL", "gpu_memory_copy_utilisation", GAUGE, percent, MEAN),
        Metric(
            "DCGM_FI_PROF_DRAM_ACTIVE", "gpu_memory_active", GAUGE, over=MEAN
        ),  # a fraction, though its help says percent
        Metric("DCGM_FI_PROF_SM_ACTIVE", "gpu_processors_active", GAUGE, over=MEAN),
        Metric("DCGM_FI_DEV_SM_CLOCK", "gpu_clock_hz", GAUGE, 1e6, MEAN),
        Metric("DCGM_FI_DEV_MEM_CLOCK", "gpu_memory_clock_hz", GAUGE, 1e6, MEAN),
        Metric("DCGM_FI_DEV_GPU_TEMP", "gpu_temperature_celsius", GAUGE, over=LARGEST),
        Metric("DCGM_FI_DEV_MEMORY_TEMP", "gpu_memory_temperature_celsius", GAUGE, over=LARGEST),
        Metric("DCGM_FI_DEV_POWER_USAGE", "gpu_power_w", GAUGE),
        Metric("DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION", "gpu_energy_j", COUNTER, 1e-3),
        Metric("DCGM_FI_DEV_FB_USED", "gpu_memory_used_bytes", GAUGE, mebibyte),
        Metric("DCGM_FI_DEV_FB_FREE", "gpu_memory_free_bytes", GAUGE, mebibyte),
        Metric("DCGM_FI_DEV_PCIE_REPLAY_COUNTER", "gpu_pcie_replays", COUNTER),
        Metric("DCGM_FI_DEV_XID_ERRORS", "gpu_last_error", GAUGE, over=LARGEST),
        Metric("DCGM_FI_DEV_COUNT", "gpus", GAUGE, over=LARGEST),  # typed counter, and is none
        Metric("DCGM_FI_DEV_NVLINK_BANDWIDTH_TOTAL", "gpu_nvlink_counters", GAUGE),
    )


def _opentelemetry() -> tuple[Metric, ...]:
    usage = "gen_ai.client.inference.usage"
    return (
        Metric("gen_ai.client.operation.duration", "latency_s", HISTOGRAM, since="until 1.38"),
        Metric("gen_ai.client.inference.duration", "latency_s", HISTOGRAM, since="unreleased"),
        Metric("gen_ai.server.request.duration", "latency_s", HISTOGRAM),
        Metric("gen_ai.client.operation.time_to_first_chunk", "ttft_s", HISTOGRAM, since="1.38"),
        Metric("gen_ai.client.inference.time_to_first_chunk", "ttft_s", HISTOGRAM, since="unreleased"),
        Metric("gen_ai.server.time_to_first_token", "ttft_s", HISTOGRAM),
        Metric("gen_ai.server.time_per_output_token", "tpot_s", HISTOGRAM),
        Metric(
            "gen_ai.client.token.usage:input", "request_input_tokens", HISTOGRAM, since="until 1.38", total="input_tokens"
        ),
        Metric(
            "gen_ai.client.token.usage:output", "request_output_tokens", HISTOGRAM, since="until 1.38", total="output_tokens"
        ),
        Metric(f"{usage}.input_tokens", "input_tokens", COUNTER, since="unreleased"),
        Metric(f"{usage}.output_tokens", "output_tokens", COUNTER, since="unreleased"),
        Metric(f"{usage}.cache_read.input_tokens", "cached_tokens", COUNTER, since="unreleased"),
        Metric(f"{usage}.reasoning.output_tokens", "reasoning_tokens", COUNTER, since="unreleased"),
    )


OPENTELEMETRY = _opentelemetry()
"""The metrics of OpenTelemetry's conventions; after a colon stands `gen_ai.token.type`."""
METRICS: tuple[Metric, ...] = (*_vllm(), *_sglang(), *_llama_cpp(), *_text_generation_inference(), *_litellm(), *_dcgm())
"""Every family that is known, a server after the other."""
BY_FAMILY = {metric.family: metric for metric in (*METRICS, *OPENTELEMETRY)}
"""The families by their name."""

OF_A_PROCESS = ("python_", "process_", "go_", "promhttp_", "scrape_", "prometheus_", "net_conntrack_")
"""Beginnings of names that say something about a process and nothing about what it serves."""
BLANK = 9.2233720368547e18
"""From here on a number of DCGM is its word for a sensor that is not there."""
