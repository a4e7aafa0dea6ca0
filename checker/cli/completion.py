"""`mcp-status completion`: completion of commands, options and names in bash, zsh and fish."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem, ShellComplete, add_completion_class, split_arg_string

from checker.cli import completed_names
from checker.errors import UsageError

_BASH = """\
_mcp_status_completion() {
    local line="${COMP_LINE:0:COMP_POINT}" word type value
    word="${line##*[[:space:]]}"
    local before="" found=()
    # bash begins a new word behind : and =, and replaces that alone
    [[ $COMP_WORDBREAKS == *:* && $word == *[:=]* ]] && before="${word%"${word##*[:=]}"}"
    COMPREPLY=()
    while IFS=$'\\t' read -r type value _; do
        case $type in
            dir) compopt -o dirnames ;;
            file) compopt -o default ;;
            plain)
                [[ $word == [\\"\\']* ]] || printf -v value %q "$value"
                COMPREPLY+=("${value#"$before"}") ;;
        esac
    done < <(env _MCP_STATUS_COMPLETE=bash_complete _MCP_STATUS_LINE="$line" "$1" 2>/dev/null)
}
complete -o nosort -F _mcp_status_completion mcp-status
"""
_ZSH = """\
#compdef mcp-status
_mcp_status_completion() {
    local line="${(j: :)words[1,CURRENT-1]} $PREFIX" type value help
    local -a values shown
    while IFS=$'\\t' read -r type value help; do
        case $type in
            dir) _path_files -/ ;;
            file) _path_files -f ;;
            plain)
                values+=("$value")
                shown+=("$value${help:+  -- $help}") ;;
        esac
    done < <(env _MCP_STATUS_COMPLETE=zsh_complete _MCP_STATUS_LINE="$line" "${words[1]}" 2>/dev/null)
    (( $#values )) && compadd -l -V mcp-status -d shown -a values
}
if [[ $zsh_eval_context[-1] == loadautofunc ]]; then
    _mcp_status_completion "$@"
else
    compdef _mcp_status_completion mcp-status
fi
"""
_FISH = """\
function _mcp_status_completion
    set -l line (commandline -cp)
    for found in (env _MCP_STATUS_COMPLETE=fish_complete _MCP_STATUS_LINE="$line" mcp-status 2>/dev/null)
        set -l parts (string split -m 2 \\t -- $found)
        switch $parts[1]
            case dir
                __fish_complete_directories (commandline -ct)
            case file
                __fish_complete_path (commandline -ct)
            case plain
                printf '%s\\t%s\\n' $parts[2] $parts[3]
        end
    end
end
complete --no-files --keep-order --command mcp-status --arguments "(_mcp_status_completion)"
"""
_SCRIPTS = {"bash": _BASH, "zsh": _ZSH, "fish": _FISH}


class _InAnyShell(ShellComplete):
    """Reads the line up to the cursor, and writes a completion as its type, value and help between tabs."""

    def get_completion_args(self) -> tuple[list[str], str]:
        line = os.environ.get(completed_names.LINE, "")
        words = split_arg_string(line)
        incomplete = "" if not words or (line[-1:].isspace() and not line.endswith("\\ ")) else words.pop()
        named = next((at for at, word in enumerate(words) if Path(word).name == "mcp-status"), 0)
        return words[named + 1 :], incomplete

    def format_completion(self, item: CompletionItem) -> str:
        return "\t".join(" ".join(str(part or "").split("\t")) for part in (item.type, item.value, item.help))


def register() -> None:
    """Make our scripts those of click, which answers where the variable is set that asks for completions."""
    for shell, script in _SCRIPTS.items():
        add_completion_class(type(f"In{shell.title()}", (_InAnyShell,), {"name": shell, "source_template": script}))


_SHELLS = click.Choice(tuple(_SCRIPTS))


@click.command("completion")
@click.argument("shell", required=False, type=_SHELLS)
def command(shell: str | None) -> None:
    """Print the completion script of SHELL; by default that of $SHELL.

    It completes commands, options and files; servers, tags and groups, of the configuration on the line or else of the
    history; environments, @queries, views, load tests, baselines and pages of the documentation.

    \b
    eval "$(mcp-status completion bash)"                                  in ~/.bashrc
    eval "$(mcp-status completion zsh)"                                   in ~/.zshrc, behind compinit
    mcp-status completion fish > ~/.config/fish/completions/mcp-status.fish
    """  # noqa: D301 # click wants the backspace itself
    named: Any = shell or Path(os.environ.get("SHELL", "")).name
    if named not in _SCRIPTS:
        raise UsageError(f"which shell? name one of {', '.join(_SCRIPTS)}: mcp-status completion bash")
    sys.stdout.write(_SCRIPTS[named])
