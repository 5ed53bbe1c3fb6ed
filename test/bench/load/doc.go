// Command load asks one HTTP path again and again and says how many answers came, and how fast.
//
// It promises either a closed loop (-rate 0: every connection asks as soon as it was answered) or an open one (-rate N:
// request k is due k/N seconds after the start, and its time counts from when it was due, also when every connection
// was busy). It runs on one thread with epoll and a timerfd, so that it takes little of a small machine from the
// server and wakes within microseconds of when it wants to. A server that closes after an answer is connected to anew,
// and the time for that counts.
//
// It does not follow redirects and speaks no TLS. It prints one line of JSON; see Result.
package main
