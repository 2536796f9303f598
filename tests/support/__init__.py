"""What all tests over sockets share: starting Holdline, a raw BOSH client, certificates, addresses."""
