"""One server process under the load of many clients, some garbage and some floods."""
