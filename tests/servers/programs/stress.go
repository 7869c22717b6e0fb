// What Go's runtime asks of a kernel, for as many seconds as the first argument says: goroutines
// that are preempted by signals, threads that come and go, timers, garbage, the loopback, pipes.
// Every part checks itself.
package main

import (
	"bufio"
	"crypto/sha256"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

var rounds atomic.Int64

func check(holds bool, what string) {
	if !holds {
		panic(what)
	}
}

// Loops without a call in them: only a signal ends their turn.
func preempted() {
	var done sync.WaitGroup
	var stop atomic.Bool
	for i := 0; i < 4; i++ {
		done.Add(1)
		go func() {
			defer done.Done()
			sum := 0
			for !stop.Load() {
				for j := 0; j < 1_000_000; j++ {
					sum += j
				}
			}
			check(sum >= 0, "sum")
		}()
	}
	for i := 0; i < 5; i++ {
		time.Sleep(2 * time.Millisecond)
		runtime.GC()
	}
	stop.Store(true)
	done.Wait()
}

func channels() {
	numbers, squares := make(chan int), make(chan int, 16)
	for i := 0; i < 8; i++ {
		go func() {
			for n := range numbers {
				squares <- n * n
			}
		}()
	}
	go func() {
		for i := 0; i < 2_000; i++ {
			numbers <- i
		}
		close(numbers)
	}()
	sum := 0
	for i := 0; i < 2_000; i++ {
		sum += <-squares
	}
	check(sum == 2_664_667_000, "squares")
}

func locks() {
	var lock sync.Mutex
	var shared sync.RWMutex
	condition := sync.NewCond(&lock)
	var done sync.WaitGroup
	turn, values := 0, map[int]int{}
	for i := 0; i < 8; i++ {
		done.Add(1)
		go func(own int) {
			defer done.Done()
			for j := 0; j < 50; j++ {
				lock.Lock()
				for turn%8 != own {
					condition.Wait()
				}
				turn++
				condition.Broadcast()
				lock.Unlock()
				shared.Lock()
				values[own]++
				shared.Unlock()
				shared.RLock()
				check(values[own] == j+1, "values")
				shared.RUnlock()
			}
		}(i)
	}
	done.Wait()
	check(turn == 400, "turns")
}

// Each goroutine has a thread for itself, and the thread ends with it.
func threads() {
	var done sync.WaitGroup
	for i := 0; i < 6; i++ {
		done.Add(1)
		go func() {
			defer done.Done()
			runtime.LockOSThread()
			id := syscall.Gettid()
			time.Sleep(time.Millisecond)
			check(id == syscall.Gettid(), "another thread")
		}()
	}
	done.Wait()
}

func timers() {
	start := time.Now()
	var fired atomic.Int64
	for i := 1; i <= 20; i++ {
		time.AfterFunc(time.Duration(i)*time.Millisecond/2, func() { fired.Add(1) })
	}
	ticker := time.NewTicker(time.Millisecond)
	for i := 0; i < 12; i++ {
		<-ticker.C
	}
	ticker.Stop()
	check(time.Since(start) >= 11*time.Millisecond, "too early")
	for fired.Load() != 20 {
		check(time.Since(start) < 20*time.Second, "a timer is lost")
		time.Sleep(time.Millisecond)
	}
}

func garbage(seed int) {
	var kept [][]byte
	for i := 0; i < 3_000; i++ {
		bytes := make([]byte, (seed*31+i*7919)&0x3fff+1)
		bytes[len(bytes)-1] = byte(i)
		kept = append(kept, bytes)
		if len(kept) > 300 {
			kept = kept[1:]
		}
	}
	for i, bytes := range kept {
		check(bytes[len(bytes)-1] == byte(2_700+i), "garbage")
	}
}

func loopback() {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	check(err == nil, "listen")
	defer listener.Close()
	go func() {
		for {
			peer, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer peer.Close()
				io.Copy(peer, peer)
			}()
		}
	}()
	var done sync.WaitGroup
	for i := 0; i < 8; i++ {
		done.Add(1)
		go func(own int) {
			defer done.Done()
			conn, err := net.Dial("tcp", listener.Addr().String())
			check(err == nil, "dial")
			defer conn.Close()
			conn.SetDeadline(time.Now().Add(60 * time.Second))
			reader := bufio.NewReader(conn)
			for j := 0; j < 50; j++ {
				fmt.Fprintf(conn, "%d of %d\n", j, own)
				line, err := reader.ReadString('\n')
				check(err == nil && line == fmt.Sprintf("%d of %d\n", j, own), "echo")
			}
		}(i)
	}
	done.Wait()
}

func pipes() {
	reader, writer, err := os.Pipe()
	check(err == nil, "pipe")
	defer reader.Close()
	sent, got := sha256.New(), sha256.New()
	go func() {
		defer writer.Close()
		block := make([]byte, 5_000)
		for i := 0; i < 100; i++ {
			for j := range block {
				block[j] = byte(i * j)
			}
			writer.Write(block)
		}
	}()
	block := make([]byte, 5_000)
	for i := 0; i < 100; i++ {
		for j := range block {
			block[j] = byte(i * j)
		}
		sent.Write(block)
	}
	count, err := io.Copy(got, reader)
	check(err == nil && count == 500_000, "copy")
	check(string(sent.Sum(nil)) == string(got.Sum(nil)), "pipe's bytes")
}

func signals() {
	came := make(chan os.Signal, 1)
	signal.Notify(came, syscall.SIGUSR2)
	defer signal.Stop(came)
	for i := 0; i < 20; i++ {
		syscall.Kill(syscall.Getpid(), syscall.SIGUSR2)
		select {
		case <-came:
		case <-time.After(20 * time.Second):
			panic("a signal is lost")
		}
	}
}

func faults() {
	met := 0
	for i := 0; i < 200; i++ {
		func() {
			defer func() {
				if recover() != nil {
					met++
				}
			}()
			var nothing *struct{ value int }
			nothing.value = i
		}()
	}
	check(met == 200, "faults")
}

func main() {
	seconds, err := strconv.Atoi(os.Args[1])
	check(err == nil && runtime.GOMAXPROCS(0) == 2, "GOMAXPROCS=2 and a number of seconds")
	end := time.Now().Add(time.Duration(seconds) * time.Second)
	var done sync.WaitGroup
	for i := 0; i < 2; i++ {
		done.Add(1)
		go func(own int) {
			defer done.Done()
			for round := own; time.Now().Before(end); round += 2 {
				preempted()
				channels()
				locks()
				threads()
				timers()
				garbage(round)
				loopback()
				pipes()
				faults()
				if own == 0 {
					signals()
				}
				rounds.Add(1)
			}
		}(i)
	}
	done.Wait()
	fmt.Println("rounds", rounds.Load())
}
