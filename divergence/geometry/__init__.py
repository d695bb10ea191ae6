"""Beside the spine: where did behaviour go? Embeddings to Estimates.

Rows come from `embeddings` (a column, a table), `embed` (texts through any function) or `read_embeddings` (hidden states,
.npy and .safetensors); they carry the name and hash of their embedder, and rows of two embedders are refused. Bare arrays
go too. Make a state of the rows once, with `paired_moments` (row i of both sides is the same item), `moments` (one sample)
or `moments_of_chunks` (a stream); shards merge with `state.merge(other)`. For `mmd` of many rows make one kernel with
`kernel_for` and `feature_sums` of each shard. `cluster=` is written wherever rows enter: the session of each row, or
None where rows are independent.

| you ask | rows | call |
|---|---|---|
| did answers to the same items move, beyond what reruns move? | paired, reruns, one embedder | `displacement` |
| are two representations of the same items alike, whatever their axes? | paired, any embedders | `cka` |
| was it a shift of all, a turn, or another shape? | paired, one embedder | `shape_distance` |
| do two sets of rows differ at all, and how much? | any, one embedder | `mmd`; shard by shard `mmd_of_sums` |
| is it other behaviour, or are other things asked? | any, prompts and answers | `prompt_mix_split` |
| how far must mass move from one set to the other? | any, one embedder, extra `ot` | `sinkhorn` |
| how much of deployment lies outside the directions of evaluation? | any, one embedder | `subspace_loss` |
| how far apart are means and covariances? | any, one embedder | `bures` |
| in how many directions does behaviour vary? | one sample | `participation_ratio` |
| where did every model go in every context? | rows of a log with reruns | `movement`, once, then the four below |
| how far, in noise floors, and did the score move with it? | `movement` | `context_displacement` |
| a picture of it, the evaluation at its origin | `movement` | `behaviour_map` |
| what does each serving factor move? | `movement`, factors | `displacement_regression` |
| how much of what contexts do to success goes with movement? | `run_movement` | `explained_by_displacement` |
| at what angle do the main directions stand? | any | `principal_angles`: refused, with the reason; `subspace_loss` |

Every answer is an `Estimate` with draws of a session jackknife; a corrected number may lie below 0 and is given so.

Sessions, never rows, are the unit of every test and interval: rows of one session resemble each other. How often a
permutation test of `mmd` at level .05 rejects where nothing differs (20 sessions of 6 rows a side, 600 simulations):

| correlation within sessions | rows permuted, as other libraries do | sessions permuted |
|---|---|---|
| 0 | .040 | .040 |
| .05 | .107 | .030 |
| .1 | .233 | .032 |
| .3 | .683 | .040 |
"""

from divergence.geometry.behaviour_map import behaviour_map
from divergence.geometry.bures import bures
from divergence.geometry.cka import cka
from divergence.geometry.context_displacement import context_displacement
from divergence.geometry.displacement import displacement
from divergence.geometry.displacement_regression import displacement_regression
from divergence.geometry.embedder import Embedder, Embeddings
from divergence.geometry.embeddings import embed, embeddings, read_embeddings
from divergence.geometry.explained_by_displacement import explained_by_displacement
from divergence.geometry.kernels import FeatureSums, Kernel, feature_sums, kernel_for
from divergence.geometry.mmd import mmd, mmd_of_sums
from divergence.geometry.moments import Moments, moments, moments_of_chunks, paired_moments
from divergence.geometry.movement import Movement, movement
from divergence.geometry.participation_ratio import participation_ratio
from divergence.geometry.principal_angles import principal_angles
from divergence.geometry.prompt_mix_split import prompt_mix_split
from divergence.geometry.run_movement import run_movement
from divergence.geometry.shape_distance import shape_distance
from divergence.geometry.sinkhorn import sinkhorn
from divergence.geometry.subspace_loss import subspace_loss

__all__ = [
    "Embedder",
    "Embeddings",
    "FeatureSums",
    "Kernel",
    "Moments",
    "Movement",
    "behaviour_map",
    "bures",
    "cka",
    "context_displacement",
    "displacement",
    "displacement_regression",
    "embed",
    "embeddings",
    "explained_by_displacement",
    "feature_sums",
    "kernel_for",
    "mmd",
    "mmd_of_sums",
    "moments",
    "moments_of_chunks",
    "movement",
    "paired_moments",
    "participation_ratio",
    "principal_angles",
    "prompt_mix_split",
    "read_embeddings",
    "run_movement",
    "shape_distance",
    "sinkhorn",
    "subspace_loss",
]
