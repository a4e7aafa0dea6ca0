"""Options of OAuth 2.1 client credentials."""

from __future__ import annotations

from typing import Annotated, Literal

from checker.structs import Options
from checker.units import Holds, Public, Secret

Method = Literal["client_secret_basic", "client_secret_post", "private_key_jwt"]


class OAuth(Options, frozen=True, kw_only=True):
    """Client credentials: the identity of this checker at the authorization server, and the requested access."""

    client_id: Public
    """Identifier that the authorization server gave this client."""
    client_secret: Secret | None = None
    """Secret that belongs to it; or give a private key."""
    client_secret_file: Public | None = None
    """File that holds the secret."""
    private_key: Secret | None = None
    """PEM private key that signs for the client (private_key_jwt, RFC 7523)."""
    private_key_file: Public | None = None
    """File that holds the private key."""
    algorithm: Literal["ES256", "ES384", "ES512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "EdDSA"] = (
        "ES256"
    )
    """The signature algorithm of the private key."""
    key_id: Public | None = None
    """``kid`` of the key, if the authorization server knows several."""
    method: Method | None = None
    """The client authentication method; by default one that the server offers and the credentials allow."""
    scopes: tuple[Public, ...] = ()
    """Scopes to request; none by default. Scopes in a server's challenge add none."""
    issuer: Annotated[str, Holds.ADDRESS] | None = None
    """Authorization server, as its metadata names itself. Credentials are sent to no other (or give token_url)."""
    token_url: Annotated[str, Holds.ADDRESS] | None = None
    """Token endpoint; by default the one in the issuer's metadata (RFC 8414)."""
    trust_on_first_use: bool = False
    """Without issuer: trust the first one that the server names, and only that one later. Kept in the database."""
    resource: Annotated[str, Holds.ADDRESS] | None = None
    """``resource`` to ask a token for (RFC 8707); by default the server's address, or what its metadata names. An empty
    text leaves it out, for authorization servers that do not know it."""
    allow_private: bool = False
    """Follow metadata of a public server to private addresses; never to link-local ones."""
