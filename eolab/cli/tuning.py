"""The command `eolab tune`: search for the parameters that do best."""

import argparse
from functools import partial
from typing import Any

from eolab.cli.parsing import add_places, command, one_process, positive, say, study_of

EXAMPLES = """\
examples:
  eolab tune landcover lstm
  eolab tune landcover lstm --trials 40 --jobs 2
  eolab tune landcover lstm --on ray=host:6379
  eolab run landcover --profile lstm                    the study with the best parameters

What may vary stands under `searches` in study.yaml. Each trial is a run of the notebook, whose validation
metric is watched at every epoch; one that is behind others after as many epochs is given up. DIR/STUDY/
searches/NAME/ holds the trials' runs, their table, and best.yaml, the best parameters as a profile. The same
command goes on with a search that was stopped or killed, and with more --trials one that has ended; to begin
anew, delete that folder (--force is refused). Without --profile trials start from the search's own profile.
It needs `pip install 'eolab[tune]'`."""


def add(commands: Any, shared: argparse.ArgumentParser) -> None:
    """Add the command."""
    text = "search for the parameters of a notebook that do best on validation samples"
    tune = command(commands, _tune, text, EXAMPLES, parents=[shared])
    tune.add_argument("search", metavar="NAME", help="name of the search in the study's study.yaml")
    text = "trials in all, those that are done included (default: what study.yaml says)"
    tune.add_argument("--trials", type=positive, metavar="N", help=text)
    add_places(tune, "trials")
    text = "how values are chosen: tpe (default), or random for comparison"
    tune.add_argument("--sampler", default="tpe", metavar="NAME", help=text)
    tune.add_argument("--no-pruning", action="store_true", help="let every trial run to its end")
    tune.add_argument("--seed", type=int, default=0, metavar="N", help="seed of the sampler (default 0)")


def _tune(options: argparse.Namespace) -> int:
    from eolab.runs import search, tracking

    one_process("a search")
    chosen, chosen_options = study_of(options)
    how = search.How(
        options.trials, options.jobs, options.on, options.sampler, not options.no_pruning, options.seed
    )
    work = partial(search.run, chosen, options.search, chosen_options, how, say)
    return 0 if tracking.under_parent(chosen.name, f"{chosen.name} {options.search}", work) else 1
