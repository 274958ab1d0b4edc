"""Longitudinal studies of emotion vectors in language models.

Rooms, in the order in which data flows:

``config``       what is asked: a study, its sections, reading and checking it
``checkpoints``  what is studied: runs, steps and identities, here or on the hub
``store``        content-keyed entries on disk
``grammar``      the seeded appraisal grammar that writes texts for embedded studies
``corpus``       reading contrast data: stories, controls, behaviour prompts, replies
``contrasts``    making and checking contrast data
``models``       loading checkpoints, batching, reading and steering the residual stream
``measure``      what is read off one checkpoint
``judging``      what a generated reply does, told by rules or a chat model
``vectors``      emotion vectors of one checkpoint, and the locked ones of the reference
``drift``        direction, use and causal effect over checkpoints
``warning``      indicators and alarms
``benchmark``    detectors scored over organism seeds, emodrift among its rivals
``evals``        evals that other tools ran, held against indicators
``show``         figures, tables, the report
``organisms``    tiny models with planted structure and planted failures
``exports``      vectors, tables and bundles for other tools and places
``watching``     the audit inside a training run
``training``     chat models fine-tuned in named regimes, sound and not
``cli``          the command `emodrift`
``stats``        bootstrap, nulls, reliability
``plan``         every entry with its content key, before anything runs
``cost``         what a study will take, and how far it is
"""
