"""Reports: self-contained HTML pages that open offline, from an e-mail or a share.

``build(run_folder)`` writes the page of a run, ``build_study(folder)`` that of a study's newest chain.
"""

from eolab.runs.reports.pages import FIGURE, build, build_study, figure_of, page
