"""The controllers: each watches a few kinds of objects and changes others until what is matches what should be.

Lives here: one controller per file, in folders by what they care for (`workloads`, `nodes`, `network`, `namespaces`,
`storage`, `security`), and what several of them share at this level. May not live here: anything that talks to a node
or to etcd; controllers know the cluster only through the apiserver.
"""
