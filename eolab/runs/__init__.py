"""Runs: parameters, records, batch runs and sweeps of notebooks.

In a notebook::

    from eolab import runs
    run = runs.start("landcover/04_train_pixels", globals())   # after the parameters cell
    store = run.input("preprocessed")                          # upstream run folder (see study.yaml)
    run.data(entry)                                            # provenance of a catalogue entry or a store
    run.figure(fig, "confusion")                               # saved, shown; its caption stands in the text
    run.table(scores, "scores")                                # all digits saved, a readable table shown
    run.scores(scores)                                         # the same for a score table, and its metrics
    run.metrics(test={"macro": {"f1": 0.71}})               # merged into metrics.json
    run.show(maps=figure, scores=(table, figure))              # several at once, by name
    run.path("model.keras")                                    # any other file of the run folder
    run.short("3 of 64 patches are empty.")                    # a sentence of its own in the box "In short"
    run.finish(patches=64)                                     # last cell: metrics, and the box with its link

In a results notebook::

    runs.latest("landcover", "04_train_pixels", model="lstm")  # newest finished run folder
    runs.load(folder).metrics                                  # also .params .history .table(name) .data
    runs.collect("landcover", "04_train_pixels")               # all finished runs as a table
    runs.table("landcover")                                    # what `eolab runs` lists, whatever status
    runs.compare(["smoke-1a2b3c4d", "smoke-5e6f7a8b"])         # what differs, metrics side by side
    runs.sweep_table("landcover", "models")                    # a sweep's table, None if it was not run
    runs.search_table("landcover", "lstm")                     # the trials of `eolab tune`, None likewise
    runs.study.load("landcover").sweeps["models"].published    # the published numbers beside it

``study.yaml`` is described in :mod:`eolab.runs.study`.
"""

from eolab.runs.history import RunRecord, collect, latest, load, named, records, seeds_said
from eolab.runs.overview import compare, table
from eolab.runs.record import Run, start
from eolab.runs.sweep import sweep_table
from eolab.runs.trials import search_table
