"""The tour: a book chapter on concurrency in Python, measured on this machine.

    pictures    waits: ten pictures from a local server that takes its time
    factors     work: random numbers, factored by trial division
    gil         the lock: two jobs on two threads, for work, hashing and waiting
    events      the event-driven way: events from another thread, through queues and live sources
    racks       the reactive way: a rule over the thermometers of 1,000 racks
    calls       one call of `gs.map`, as text and as a measurement
    words       measured numbers -> the reason, in words (pure)
    models      the groups of events and racks
    stations    the other groups of rows, and the whole tour

Imports nothing itself: a worker process that needs `factors` loads only that.
"""
