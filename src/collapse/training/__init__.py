"""Training: one run (`run`), and the runs that one job trains (`packs`).

`steps` is one optimizer step, on a GPU as a CUDA graph (`graphed_steps`). A killed job goes on from
`run_state`.
"""
