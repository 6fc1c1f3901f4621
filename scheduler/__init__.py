"""Decides which node each pod runs on: queue -> filter -> score -> reserve -> bind.

Lives here: the columnar picture of the cluster (`nodes`), what a pod asks for (`pods`), plugins with upstream's names
(`plugins`), the queue, preemption and the loop. May not live here: anything that makes pods or nodes.
"""
