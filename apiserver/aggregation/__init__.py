"""API aggregation: groups that other servers serve, behind this one's authentication and authorization.

Lives here: which APIServices there are and whether they answer, passing requests on with the user's identity in headers
(signed by a client certificate of the front proxy), and what of it discovery shows. May not live here: the APIService
kind's own rules, which are in its strategy.
"""
