// The gallery: runs the examples that examples/gallery/list.txt names, each into a folder of its own, and writes
// index.html with their pictures, what they claim, and whether it held.

#include "gallery/program.hpp"
#include "programs/gallery/exhibit_file.hpp"

#include <attnflow/detail/words.hpp>
#include <attnflow/io/atomic_file.hpp>
#include <attnflow/version.hpp>

#include <CLI/CLI.hpp>

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <mutex>
#include <optional>
#include <sstream>
#include <stdexcept>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

namespace {

namespace fs = std::filesystem;

/// A line of the list: a program, and what it is given besides `--out DIR`.
struct Entry {
  std::string name;
  std::vector<std::string> arguments;
};

/// What became of it.
struct Result {
  int status = -1;
  double seconds = 0;
  std::optional<gallery::ExhibitFile> exhibit;  ///< what it wrote about itself
  std::string mistake;                          ///< why that cannot be read, if so

  [[nodiscard]] bool good() const { return status == 0 && exhibit && exhibit->passed; }
};

struct Options {
  std::string list, programs, sources, out;
  std::vector<std::string> only;
  unsigned jobs = std::max(1U, std::thread::hardware_concurrency());
};

/// `name arguments…` a line; what follows # is a comment.
std::vector<Entry> read_list(const fs::path& path) {
  std::ifstream in(path);
  if (!in) throw std::runtime_error("--list: " + path.string() + " cannot be read");
  std::vector<Entry> entries;
  for (std::string line; std::getline(in, line);) {
    std::istringstream words(line.substr(0, line.find('#')));
    Entry entry;
    if (!(words >> entry.name)) continue;
    for (std::string word; words >> word;) entry.arguments.push_back(word);
    entries.push_back(std::move(entry));
  }
  return entries;
}

/// Runs a program with what it says going to a file. \returns its exit status, 128 + the signal that ended it.
int run(const fs::path& program, const std::vector<std::string>& arguments, const fs::path& log) {
  const std::string path = program.string(), log_name = log.string();
  std::vector<char*> argv{const_cast<char*>(path.c_str())};
  for (const std::string& word : arguments) argv.push_back(const_cast<char*>(word.c_str()));
  argv.push_back(nullptr);
  const int output = open(log_name.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (output < 0) return 126;
  const pid_t child = fork();
  if (child == 0) {  // from here to execv only what is safe beside other threads
    if (dup2(output, STDOUT_FILENO) < 0 || dup2(output, STDERR_FILENO) < 0) _exit(126);
    execv(argv[0], argv.data());
    _exit(127);
  }
  close(output);
  if (child < 0) return 127;
  int status = 0;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

Result show(const Entry& entry, const Options& o) {
  const fs::path folder = fs::path(o.out) / entry.name;
  fs::create_directories(folder);
  std::error_code error;
  fs::remove(folder / "exhibit.json", error);
  std::vector<std::string> arguments = entry.arguments;
  arguments.insert(arguments.end(), {"--out", folder.string()});
  const auto began = std::chrono::steady_clock::now();
  Result result;
  result.status = run(fs::path(o.programs) / entry.name, arguments, folder / "output.txt");
  result.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count();
  if (fs::exists(folder / "exhibit.json", error)) {
    try {
      result.exhibit = gallery::read_exhibit(folder / "exhibit.json");
    } catch (const std::runtime_error& mistake) {
      result.mistake = mistake.what();
    }
  }
  for (const fs::directory_entry& file : fs::recursive_directory_iterator(o.sources, error))
    if (file.path().filename() == entry.name + ".cpp")
      fs::copy_file(file, folder / file.path().filename(), fs::copy_options::overwrite_existing, error);
  return result;
}

std::string escaped(const std::string& text) {
  std::string out;
  for (const char c : text)
    out += c == '&'   ? "&amp;"
           : c == '<' ? "&lt;"
           : c == '>' ? "&gt;"
           : c == '"' ? "&quot;"
                      : std::string(1, c);
  return out;
}

/// `_` and `^` set the next character, or what stands in braces, lower and higher, as in Figure.
std::string with_scripts(const std::string& text) {
  std::string out;
  for (std::size_t k = 0; k < text.size();) {
    const char c = text[k++];
    if ((c != '_' && c != '^') || k == text.size()) {
      out += escaped(std::string(1, c));
      continue;
    }
    std::size_t end = k + 1;  // one character, which may have several bytes
    if (text[k] == '{' && text.find('}', k) != std::string::npos) {
      end = text.find('}', ++k);
    } else {
      while (end < text.size() && (static_cast<unsigned char>(text[end]) & 0xC0U) == 0x80U) ++end;
    }
    const std::string tag = c == '_' ? "sub>" : "sup>";
    out += "<" + tag + escaped(text.substr(k, end - k)) + "</" + tag;
    k = end < text.size() && text[end] == '}' ? end + 1 : end;
  }
  return out;
}

std::string number(const std::optional<double>& value) {
  if (!value) return "not finite";
  char text[40];
  std::snprintf(text, sizeof text, "%.3g", *value);
  return text;
}

constexpr const char* style = R"css(
:root { --bg: #fff; --fg: #1a1f25; --muted: #56616d; --line: #d5dbe1; --card: #f7f9fa; --good: #00664a; --bad: #b13c00; --link: #005f99;
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }
@media (prefers-color-scheme: dark) { :root { --bg: #0f1318; --fg: #e9edf2; --muted: #a3afbc; --line: #3a4653; --card: #181e25;
  --good: #56d1a7; --bad: #ff9c66; --link: #6cc0f0; color-scheme: dark; } }
body { margin: 0 auto; max-width: 1400px; padding: 20px clamp(12px, 3vw, 40px) 60px; background: var(--bg); color: var(--fg); }
h1 { font-size: 1.7rem; margin: 0; }
header p { color: var(--muted); margin: 4px 0 24px; max-width: 60em; }
main { display: grid; align-items: start; gap: 22px; grid-template-columns: repeat(auto-fill, minmax(min(100%, 400px), 1fr)); }
article { border: 1px solid var(--line); border-radius: 10px; overflow: hidden; background: var(--card); display: flex; flex-direction: column; }
article > a:first-child { background: #fff; border-bottom: 1px solid var(--line); }
article img { display: block; width: 100%; aspect-ratio: 4 / 3; object-fit: contain; padding: 8px; box-sizing: border-box; }
article div { padding: 12px 16px 16px; display: flex; flex-direction: column; gap: 8px; flex: 1; }
h2 { font-size: 1.1rem; line-height: 1.3; margin: 0; }
p { margin: 0; }
ul { list-style: none; margin: 0; padding: 0; font-size: 0.88rem; }
li { padding: 3px 0 3px 1.5em; position: relative; border-top: 1px solid var(--line); overflow-wrap: anywhere; }
sub, sup { line-height: 0; }
li::before { position: absolute; left: 0.1em; content: "\00b7"; color: var(--muted); }
li.holds::before { content: "\2713"; color: var(--good); font-weight: 700; }
li.fails::before { content: "\2717"; color: var(--bad); font-weight: 700; }
li.fails { color: var(--bad); }
b { font-variant-numeric: tabular-nums; }
small, .links { color: var(--muted); font-size: 0.85rem; }
.links { margin-top: auto; padding-top: 6px; display: flex; flex-wrap: wrap; gap: 4px 14px; }
a { color: var(--link); }
)css";

std::string link(const std::string& to, const std::string& text) {
  return "<a href=\"" + escaped(to) + "\">" + escaped(text) + "</a>";
}

/// One entry of the page.
std::string card(const Entry& entry, const Result& result) {
  const std::string folder = entry.name + "/";
  gallery::ExhibitFile exhibit;
  exhibit.title = entry.name;
  if (result.exhibit) exhibit = *result.exhibit;
  std::string picture, links, claims;
  for (const auto& [kind, name] : exhibit.files) {
    if (kind == "figure" && picture.empty()) picture = name;
    links += link(folder + name, kind == "page" ? "play: " + name : name);
  }
  links += link(folder + entry.name + ".cpp", "source") + link(folder + "output.txt", "output");
  const auto fails = [&](const std::string& what) { claims += "<li class=\"fails\">" + what + "</li>"; };
  if (result.status != 0) fails("ended with status " + std::to_string(result.status));
  if (!result.mistake.empty())
    fails(escaped(result.mistake));
  else if (result.status == 0 && !result.exhibit)
    fails("said nothing about itself");
  for (const auto& c : exhibit.claims) {
    claims += std::string("<li") +
              (!c.claimed ? ""
               : c.holds  ? " class=\"holds\""
                          : " class=\"fails\"") +
              ">" + with_scripts(c.text) + ": <b>" + number(c.value) + "</b>" +
              (c.claimed ? ", expected " + with_scripts(c.expected) : "") + "</li>";
  }
  char seconds[20];
  std::snprintf(seconds, sizeof seconds, "%.1f s", result.seconds);
  return "<article id=\"" + escaped(entry.name) + "\">" +
         (picture.empty()
              ? ""
              : "<a href=\"" + escaped(folder + picture) + "\"><img loading=\"lazy\" src=\"" +
                    escaped(folder + picture) + "\" alt=\"" + escaped(exhibit.title) + "\"></a>") +
         "<div><h2>" + with_scripts(exhibit.title) + "</h2><p>" + with_scripts(exhibit.sentence) +
         "</p><ul>" + claims + "</ul><p class=\"links\">" + links + "<span>" + seconds +
         "</span></p></div></article>\n";
}

void write_index(const Options& o, const std::vector<Entry>& entries, const std::vector<Result>& results) {
  std::size_t claims = 0, held = 0, whole = 0;
  std::string cards;
  for (std::size_t k = 0; k < entries.size(); ++k) {
    cards += card(entries[k], results[k]);
    whole += static_cast<std::size_t>(results[k].good());
    if (!results[k].exhibit) continue;
    for (const auto& c : results[k].exhibit->claims) {
      if (!c.claimed) continue;
      ++claims;
      held += static_cast<std::size_t>(c.holds);
    }
  }
  const std::string summary = std::to_string(entries.size()) + " examples, " + std::to_string(whole) +
                              " of them whole; " + std::to_string(held) + " of " + std::to_string(claims) +
                              " claims hold. AttnFlow " + std::string(attnflow::version) + ".";
  attnflow::AtomicFile file(fs::path(o.out) / "index.html");
  file.write(
      "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
      "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
      "<link rel=\"icon\" href=\"data:,\">\n<title>AttnFlow: gallery</title>\n<style>");
  file.write(style);
  file.write(
      "</style>\n</head>\n<body>\n<header><h1>Self-attention as interacting particles: the "
      "gallery</h1>\n<p>Every "
      "picture is computed by the program whose source is linked below it, which also checks what it "
      "claims. " +
      summary + "</p></header>\n<main>\n");
  file.write(cards);
  file.write("</main>\n</body>\n</html>\n");
  file.commit();
  std::cout << summary << "\nwritten: " << (fs::path(o.out) / "index.html").string() << '\n';
}

/// One line on stderr.
void complain(const std::string& what) {
  std::cerr << "gallery: " << attnflow::detail::printable(what, false) << '\n';
}

int build(const Options& o) {
  std::vector<Entry> entries = read_list(o.list);
  for (const std::string& name : o.only)
    if (std::ranges::none_of(entries, [&](const Entry& e) { return e.name == name; }))
      throw std::runtime_error("'" + name + "' is not in " + o.list);
  if (!o.only.empty())
    std::erase_if(entries, [&](const Entry& e) { return std::ranges::find(o.only, e.name) == o.only.end(); });
  gallery::make_folder(o.out, "index.html");
  std::vector<Result> results(entries.size());
  std::atomic<std::size_t> next = 0;
  std::size_t done = 0;
  std::mutex saying;
  std::exception_ptr failure;
  const auto work = [&] {
    for (std::size_t k = next++; k < entries.size(); k = next++) {
      try {
        results[k] = show(entries[k], o);
      } catch (...) {
        const std::scoped_lock lock(saying);
        failure = std::current_exception();
        return;
      }
      const std::scoped_lock lock(saying);
      if (!results[k].mistake.empty()) complain(results[k].mistake);
      std::printf("[%zu/%zu] %s: %s, %.1f s\n", ++done, entries.size(), entries[k].name.c_str(),
                  results[k].good() ? "all claims hold" : "FAILED", results[k].seconds);
      std::fflush(stdout);
    }
  };
  {
    std::vector<std::jthread> workers;
    for (unsigned k = 0; k < o.jobs; ++k) workers.emplace_back(work);
  }
  if (failure) std::rethrow_exception(failure);
  write_index(o, entries, results);
  if (!programs::said_all("gallery")) return 2;
  return std::ranges::all_of(results, &Result::good) ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  Options o;
  CLI::App app{
      "Runs the examples of the gallery and writes index.html: pictures, pages, data, and claims with their "
      "numbers. Exit status: 0 if all claims hold, 1 if not, 2 for a mistake of the caller.",
      "gallery"};
  app.add_option("names", o.only, "only these examples");
  app.add_option("--list", o.list, "the examples, `name arguments...` a line")->required();
  app.add_option("--programs", o.programs, "the folder of the programs")->required();
  app.add_option("--sources", o.sources, "the folder of their sources, which may be in subfolders")
      ->required();
  app.add_option("--out", o.out, "the folder to write to")->required();
  app.add_option("--jobs", o.jobs, "how many run at a time")
      ->check(CLI::Range(1, 1024))
      ->capture_default_str();
  try {
    if (const std::string mistake = programs::mistake_of_values(app, argc, argv); !mistake.empty())
      throw std::runtime_error(mistake);
    app.parse(argc, argv);
    return build(o);
  } catch (const CLI::CallForHelp& help) {
    const int status = app.exit(help);
    return programs::said_all("gallery") ? status : 2;
  } catch (const std::exception& error) {
    complain(error.what());
    return 2;
  }
}
