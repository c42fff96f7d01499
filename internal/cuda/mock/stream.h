// Streams, and what else keeps work: graphs and events.
#ifndef SURROGAZE_MOCK_STREAM_H
#define SURROGAZE_MOCK_STREAM_H

#include <deque>
#include <functional>
#include <string>
#include <thread>
#include <vector>

namespace mock {

// Work is done on the device. run says why it failed, or "".
struct Work {
  std::string name;
  std::function<std::string()> run;
};

// A Graph is captured work.
struct Graph {
  std::vector<Work> nodes;
};

// A Stream does its work as late as it may: when somebody waits for it. So a program
// that does not wait where it must reads old values.
struct Stream {
  std::deque<Work> queue;
  long put = 0, finished = 0;  // pieces of work, since the beginning
  Graph *capture = nullptr;    // what takes the work at present
  bool invalid = false;        // something was called that must not be in a capture
  std::thread::id capturer;
};

// An Event is a place in a stream, and when the stream passed it.
struct Event {
  Stream *stream = nullptr;
  long place = 0;
  double time = 0;  // seconds
  bool timed = true;
};

// put gives a stream work, or the graph that captures it.
void put(Stream &s, Work w);

// drain does the work of a stream up to the n-th piece. It returns why the first that
// failed did, or "".
std::string drain(Stream &s, long n);

}  // namespace mock

#endif
