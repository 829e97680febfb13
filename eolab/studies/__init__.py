"""Studies: what only one study needs, one package a study.

What a study has to give is written down in :class:`eolab.studies.protocol.Study`.
"""
