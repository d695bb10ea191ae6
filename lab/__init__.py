"""This project's own lab: what made the data sets of `datasets/`, and nothing that a user of the package needs.

| file | holds |
|---|---|
| `items`, `sessions`, `traffic` | questions, conversations, agent tasks, a stream like traffic: right by construction |
| `incidents` | streams with a known incident: a setting that is switched, a context that grows |
| `weights` | the small models that are served, and the same re-quantised |
| `dataset` | a finished run of the probe as a folder of `datasets/` |
| `*.toml` | the plans that were run; `make lab` and `make lab-full` run them again |
"""
