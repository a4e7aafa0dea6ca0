"""The public MCP servers of the field test: what each is installed from, and how it is started.

Versions are pinned. None needs an account: of those that want a key some start with one that is made up, and some are
started without what they want, because a server that refuses to start is one that clients and checker must refuse.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from real_servers import Component

NOWHERE = "http://127.0.0.1:9"
"""Where nobody listens: a service that a server asks for."""


@dataclass(frozen=True)
class FieldServer:
    """A server as it is started; ``{folder}`` in words and variables is an empty folder, ``{port}`` a free port."""

    name: str
    component: Component
    command: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)
    path: str | None = None
    """Where it answers over HTTP; None for one over stdio."""

    @property
    def transport(self) -> str:
        """How it is spoken to: ``stdio``, ``sse`` or ``http``."""
        return "stdio" if self.path is None else "sse" if self.path.endswith("sse") else "http"


def _npm(package: str, script: str, *args: str, path: str | None = None, name: str = "", **env: str) -> FieldServer:
    """A server from npm: its package with the version, and the script of the package that node runs."""
    bare = package.rpartition("@")[0]
    component = Component(bare.lstrip("@").replace("/", "-"), (package,), node=True, oldest_node=22)
    return FieldServer(name or bare, component, ("node", f"node_modules/{bare}/{script}", *args), env, path)


def _pypi(package: str, program: str, *args: str, path: str | None = None, name: str = "", **env: str) -> FieldServer:
    """A server from PyPI: its package with the version, and its program."""
    bare = package.partition("==")[0]
    return FieldServer(name or bare, Component(bare, (package,)), (program, *args), env, path)


_EVERYTHING = "@modelcontextprotocol/server-everything@2026.8.31"
_CONTEXT7 = "@upstash/context7-mcp@4.1.1"
_DUCKDUCKGO, _WIKIPEDIA = "duckduckgo-mcp-server==0.7.0", "wikipedia-mcp==2.0.1"
_GRAFANA = "mcp-grafana==2.1.1"

SERVERS = (
    _npm(_EVERYTHING, "dist/index.js", "stdio"),
    _npm(_EVERYTHING, "dist/index.js", "streamableHttp", path="/mcp", name="everything over HTTP", PORT="{port}"),
    _npm(_EVERYTHING, "dist/index.js", "sse", path="/sse", name="everything over SSE", PORT="{port}"),
    _npm("@modelcontextprotocol/server-filesystem@2026.8.31", "dist/index.js", "{folder}"),
    _npm("@modelcontextprotocol/server-filesystem@2026.8.31", "dist/index.js", name="filesystem without a folder"),
    _npm("@modelcontextprotocol/server-memory@2026.8.31", "dist/index.js", MEMORY_FILE_PATH="{folder}/memory.json"),
    _npm("@modelcontextprotocol/server-sequential-thinking@2026.8.31", "dist/index.js"),
    _npm("@modelcontextprotocol/server-github@2025.4.8", "dist/index.js"),
    _npm("@modelcontextprotocol/server-gitlab@2025.4.25", "dist/index.js"),
    _npm(
        "@modelcontextprotocol/server-gitlab@2025.4.25",
        "dist/index.js",
        name="gitlab with a token",
        GITLAB_PERSONAL_ACCESS_TOKEN="made-up",
    ),
    _npm("@modelcontextprotocol/server-google-maps@0.6.2", "dist/index.js"),
    _npm(
        "@modelcontextprotocol/server-google-maps@0.6.2",
        "dist/index.js",
        name="google-maps with a key",
        GOOGLE_MAPS_API_KEY="made-up",
    ),
    _npm("@modelcontextprotocol/server-brave-search@0.6.2", "dist/index.js"),
    _npm("@modelcontextprotocol/server-slack@2025.4.25", "dist/index.js"),
    _npm(
        "@modelcontextprotocol/server-slack@2025.4.25",
        "dist/index.js",
        name="slack with a token",
        SLACK_BOT_TOKEN="xoxb-made-up",
        SLACK_TEAM_ID="T01",
    ),
    _npm("@modelcontextprotocol/server-everart@0.6.2", "dist/index.js"),
    _npm("@modelcontextprotocol/server-postgres@0.6.2", "dist/index.js"),
    _npm(
        "@modelcontextprotocol/server-postgres@0.6.2",
        "dist/index.js",
        "postgresql://127.0.0.1:9/demo",
        name="postgres with a URL",
    ),
    _npm("@modelcontextprotocol/server-redis@2025.4.25", "dist/index.js", "redis://127.0.0.1:9"),
    _npm("@modelcontextprotocol/server-system-monitor@2.0.3", "dist/index.js", "--stdio"),
    _npm("@modelcontextprotocol/server-wiki-explorer@2.0.3", "dist/index.js", "--stdio"),
    _npm(_CONTEXT7, "dist/index.js"),
    _npm(
        _CONTEXT7,
        "dist/index.js",
        *("--transport", "http", "--port", "{port}"),
        path="/mcp",
        name="context7 over HTTP",
    ),
    _npm("tavily-mcp@0.2.22", "build/index.js"),
    _npm("tavily-mcp@0.2.22", "build/index.js", name="tavily with a key", TAVILY_API_KEY="made-up"),
    _npm("exa-mcp-server@3.4.1", "dist/stdio.cjs"),
    _npm("firecrawl-mcp@3.26.0", "dist/index.js"),
    _npm("firecrawl-mcp@3.26.0", "dist/index.js", name="firecrawl with a URL", FIRECRAWL_API_URL=NOWHERE),
    _npm("@notionhq/notion-mcp-server@2.5.2", "bin/cli.mjs"),
    _npm("@brave/brave-search-mcp-server@2.1.4", "dist/index.js"),
    _npm(
        "@brave/brave-search-mcp-server@2.1.4",
        "dist/index.js",
        name="brave with a key",
        BRAVE_API_KEY="made-up",
    ),
    _npm("@perplexity-ai/mcp-server@1.2.1", "dist/index.js"),
    _npm("@sentry/mcp-server@0.39.0", "dist/index.js", "--access-token=made-up", "--host=127.0.0.1"),
    _npm("airtable-mcp-server@1.14.0", "dist/main.js"),
    _npm("figma-developer-mcp@0.13.2", "dist/bin.js", "--stdio", FIGMA_API_KEY="made-up"),
    _npm("mcp-fetch-server@1.1.2", "dist/index.js"),
    _npm("time-mcp@1.0.6", "dist/index.js"),
    _npm("mcp-server-code-runner@0.1.8", "dist/cli.js"),
    _npm("@benborla29/mcp-server-mysql@2.0.9", "dist/index.js", MYSQL_HOST="127.0.0.1", MYSQL_PORT="9"),
    _npm("@elastic/mcp-server-elasticsearch@0.3.1", "dist/index.js", ES_URL=NOWHERE, ES_API_KEY="made-up"),
    _npm("@playwright/mcp@0.0.83", "cli.js", "--headless"),
    _npm(
        "@playwright/mcp@0.0.83",
        "cli.js",
        *("--headless", "--port", "{port}", "--host", "127.0.0.1"),
        path="/mcp",
        name="playwright over HTTP",
    ),
    _npm("@line/line-bot-mcp-server@0.5.0", "dist/index.js"),
    _npm("@currents/mcp@2.1.1", "build/index.js", CURRENTS_API_KEY="made-up"),
    _npm("@coding-solo/godot-mcp@0.1.1", "build/index.js"),
    _npm("@antv/mcp-server-chart@0.9.10", "build/index.js"),
    _npm("@gongrzhe/server-redis-mcp@1.0.0", "build/index.js", "redis://127.0.0.1:9"),
    _npm("@hubspot/mcp-server@0.4.0", "dist/index.js"),
    _npm("mcp-remote@0.15.1", "dist/proxy.js", f"{NOWHERE}/mcp", "--allow-http"),
    _pypi("mcp-server-time==2026.10.19", "mcp-server-time", "--local-timezone", "UTC"),
    _pypi("mcp-server-git==2026.10.19", "mcp-server-git"),
    _pypi("mcp-server-git==2026.10.19", "mcp-server-git", "--repository", "{folder}", name="git without a repository"),
    _pypi("mcp-server-fetch==2026.10.24", "mcp-server-fetch"),
    _pypi("mcp-server-sqlite==2025.4.25", "mcp-server-sqlite", "--db-path", "{folder}/demo.db"),
    _pypi("mcp-server-calculator==0.2.1", "mcp-server-calculator"),
    _pypi(_DUCKDUCKGO, "duckduckgo-mcp-server"),
    _pypi(
        _DUCKDUCKGO,
        "duckduckgo-mcp-server",
        *("--transport", "streamable-http", "--host", "127.0.0.1", "--port", "{port}"),
        path="/mcp",
        name="duckduckgo over HTTP",
    ),
    _pypi(_GRAFANA, "mcp-grafana", GRAFANA_URL=NOWHERE),
    _pypi(
        _GRAFANA,
        "mcp-grafana",
        *("-t", "streamable-http", "-address", "127.0.0.1:{port}"),
        path="/mcp",
        name="grafana over HTTP",
        GRAFANA_URL=NOWHERE,
    ),
    _pypi("excel-mcp-server==2.2.2", "excel-mcp-server", "stdio"),
    _pypi("office-word-mcp-server==1.1.11", "word_mcp_server", MCP_TRANSPORT="stdio"),
    _pypi("mcp-obsidian==0.2.3", "mcp-obsidian"),
    _pypi("mcp-obsidian==0.2.3", "mcp-obsidian", name="obsidian with a key", OBSIDIAN_API_KEY="made-up"),
    _pypi("mcp-simple-pubmed==0.1.16", "mcp-simple-pubmed", PUBMED_EMAIL="me@example.com"),
    _pypi(_WIKIPEDIA, "wikipedia-mcp"),
    _pypi(
        _WIKIPEDIA,
        "wikipedia-mcp",
        *("--transport", "streamable-http", "--host", "127.0.0.1", "--port", "{port}"),
        path="/mcp",
        name="wikipedia over HTTP",
    ),
    _pypi(
        _WIKIPEDIA,
        "wikipedia-mcp",
        *("--transport", "sse", "--host", "127.0.0.1", "--port", "{port}"),
        path="/sse",
        name="wikipedia over SSE",
    ),
    _pypi("mcp-shell-server==1.1.14", "mcp-shell-server", ALLOW_COMMANDS="ls"),
    _pypi("cli-mcp-server==0.2.5", "cli-mcp-server", ALLOWED_DIR="{folder}"),
    _pypi("terminal-controller==0.1.9", "terminal_controller"),
    _pypi("mysql-mcp-server==0.4.4", "mysql_mcp_server"),
    _pypi("redis-mcp-server==0.5.1", "redis-mcp-server", "--url", "redis://127.0.0.1:9/0"),
    _pypi("mcp-searxng==0.1.0", "mcp-searxng", SEARXNG_URL=NOWHERE),
    _pypi("mcp-hn==0.1.0", "mcp-hn"),
    _pypi("mcp-weather==0.1.0", "mcp-weather"),
    _pypi("mcp-alchemy==2026.10.15.202659", "mcp-alchemy", DB_URL="sqlite:///{folder}/demo.db"),
    _pypi("mcp-pandoc==0.11.1", "mcp-pandoc"),
)
"""Each runs by itself; what needs a service finds none."""
