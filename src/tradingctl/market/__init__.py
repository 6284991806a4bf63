"""When the exchange is open: no upgrade then, and services that run only then."""
