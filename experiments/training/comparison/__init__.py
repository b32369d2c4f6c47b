"""The parameter server against AllReduce: the same model trained both ways on the same hosts, measured and simulated.

``contestants`` names what is compared, ``ranks`` runs it, ``predictions`` says beforehand what will come out, and
``findings`` what came out.
"""
