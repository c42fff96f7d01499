// Package config is the project's configuration: its types, defaults,
// validation and JSON schema.
//
// The struct tags of [Config] are the one description of the YAML file. The
// decoder, the validation and the schema are derived from them:
//
//	json     name of the key
//	doc      one line for the schema
//	enum     allowed words, separated by commas (of a list: of its items)
//	keys     allowed keys of a mapping
//	min max  inclusive bounds (of a list: of its items)
//	above    exclusive lower bound
//	below    exclusive upper bound
//	pattern  regular expression of a string, explained by the tag want
package config

import "path/filepath"

// Config is everything that decides what a run computes and where it leaves
// it. Paths are relative to the working directory, those inside Data to
// Data.Root.
type Config struct {
	Name       string     `json:"name" doc:"name of the run; the file's name if not given" pattern:"^[A-Za-z0-9][A-Za-z0-9._-]*$" want:"letters, digits, '.', '_' and '-'"`
	Seed       int64      `json:"seed" min:"0" doc:"base of all random numbers; run i of an arm uses the i-th stream of it"`
	Out        string     `json:"out" doc:"folder for the results; runs/<name> if not given"`
	Store      string     `json:"store" doc:"folder for intermediate artefacts, may be shared by runs; <out>/.store if not given"`
	Device     string     `json:"device" pattern:"^(auto|cpu|cuda(:[0-9]+)?)$" want:"auto, cpu, cuda or cuda:<number>" doc:"auto, cpu, cuda or cuda:<number>"`
	Precision  string     `json:"precision" enum:"auto,f32,tf32,bf16" doc:"arithmetic of the networks; tf32 is for GPUs, bf16 for hardware that has it"`
	Workers    int        `json:"workers" min:"0" doc:"cores that this process may use, 0 = all"`
	Jobs       int        `json:"jobs" min:"0" doc:"training runs side by side within the cores, 0 = as many as fit"`
	Data       Data       `json:"data" doc:"the images, their labels and the human maps"`
	Predictor  Predictor  `json:"predictor" doc:"network that maps an image to a saliency map"`
	Annotate   Annotate   `json:"annotate" doc:"how samples without a map get one"`
	Classifier Classifier `json:"classifier" doc:"network that is trained in every arm"`
	Train      Train      `json:"train" doc:"how the classifiers are trained"`
	Evaluate   Evaluate   `json:"evaluate" doc:"what the result tables are about"`
	Export     []Export   `json:"export" doc:"formats in which the annotated data set is written besides data/; [{to: hf-parquet}] if not given, [] = none"`
	Report     Report     `json:"report" doc:"the HTML report"`
}

// Data says where the samples are.
type Data struct {
	Root        string    `json:"root" doc:"folder that the section's other paths are in, seen from the current folder, or embed:<name> for a built-in data set"`
	Annotated   Annotated `json:"annotated" doc:"the set with human maps"`
	Unannotated []Source  `json:"unannotated" doc:"further sets, without maps"`
	Classes     []string  `json:"classes" doc:"class names in the order of their indices"`
	Split       Split     `json:"split" doc:"for rows that come without a split"`
	MaxBad      float64   `json:"max_bad" min:"0" max:"1" doc:"largest share of unusable rows before the run stops"`
}

// Annotated is the set with human maps, in one of several layouts.
type Annotated struct {
	Format    string   `json:"format" enum:"folder,cyborg-csv,egd-cxr,nih-chest-xray" doc:"layout: folder = images, a CSV file and maps; cyborg-csv = that of the CYBORG reference; egd-cxr = PhysioNet's eye gaze data for chest X-rays; nih-chest-xray = ChestX-ray14"`
	Images    string   `json:"images" doc:"folder of the images"`
	Labels    string   `json:"labels" doc:"CSV file; folder: with the columns file,label[,split,group]; cyborg-csv: without header, split,class,path, where test means val; egd-cxr: master_sheet.csv; nih-chest-xray: Data_Entry_2017.csv"`
	Tests     []string `json:"tests,omitempty" doc:"cyborg-csv: CSV files of the test split, each a group of its name"`
	Maps      string   `json:"maps" doc:"folder of the maps, named like the images; egd-cxr: fixations.csv; nih-chest-xray: BBox_List_2017.csv"`
	MapSuffix string   `json:"map_suffix,omitempty" doc:"cyborg-csv: what a map's name has before the ending beyond its image's"`
	HumanMaps int      `json:"human_maps" min:"0" doc:"maps of the train and val splits that may be used, 0 = all; the others are kept as reference"`
}

// Source is one set without maps.
type Source struct {
	Format  string            `json:"format" enum:"parquet,arrow,huggingface" doc:"parquet, arrow (IPC file or stream) or huggingface (a save_to_disk folder)"`
	Path    string            `json:"path" doc:"file, folder or pattern such as big/*.parquet"`
	Columns map[string]string `json:"columns,omitempty" keys:"id,image,label,split,group" doc:"names of the set's columns where they differ from id, image, label, split, group"`
}

// Split are the shares of rows that come without a split of their own; what
// is left trains.
type Split struct {
	Val  float64 `json:"val" min:"0" below:"1" doc:"share of the validation split"`
	Test float64 `json:"test" min:"0" below:"1" doc:"share of the test split"`
	By   string  `json:"by" enum:"group,sample" doc:"group = rows of a group fall in one split, that which others of it come with"`
}

// Predictor is the saliency predictor and its training. Widths and Stem describe
// network: unet; of the others they are empty.
type Predictor struct {
	Network      string    `json:"network" enum:"unet,unet-resnet18,unet-resnet50,unet-densenet121,unetplusplus-resnet50" doc:"architecture; behind the hyphen the classifier that encodes the image"`
	Widths       []int     `json:"widths,omitempty" min:"1" doc:"unet: channels of every level, from fine to coarse"`
	Stem         Stem      `json:"stem,omitzero" doc:"first convolution of network: unet; its channels are the first width"`
	Size         int       `json:"size" min:"8" max:"2048" doc:"side of the square input in pixels"`
	Resize       string    `json:"resize" enum:"squash,pad" doc:"squash = images fill the square and lose their shape, pad = they keep it between black bars"`
	Pretrained   string    `json:"pretrained" doc:"weights of a classifier for the encoder to start from, a safetensors or PyTorch file; none if empty"`
	AllowMissing []string  `json:"allow_missing" doc:"patterns, such as encoder.layer4.*, of the encoder's parameters that the weights may lack and of tensors that they may have beyond them"`
	Loss         string    `json:"loss" enum:"mse,bce,kl,cc,bce+cc" doc:"distance between predicted and human map; bce+cc = the sum of both"`
	Steps        int       `json:"steps" min:"1" doc:"optimiser steps"`
	Batch        int       `json:"batch" min:"1" doc:"samples a step"`
	Select       string    `json:"select" enum:"cc,loss,last" doc:"which checkpoint is kept: the last, or the best by the cc or loss of a fifth of the maps, which then teach nothing"`
	Folds        int       `json:"folds" min:"2" doc:"parts of the annotated images for out-of-fold predictions"`
	Optimizer    Optimizer `json:"optimizer" doc:"how the weights are changed"`
	Augment      Augment   `json:"augment" doc:"random changes of image and map together"`
}

// Stem is the convolution that a U-Net begins with.
type Stem struct {
	Kernel int `json:"kernel" min:"1" doc:"side of the kernel, odd"`
	Stride int `json:"stride" min:"1" max:"4" doc:"step between windows; the map is upsampled by it at the end"`
}

// Annotate says how samples without a map get one.
type Annotate struct {
	Annotator string `json:"annotator" enum:"predictor,teacher-cam,teacher-rise,mean,centre,pca" doc:"who draws the maps: the predictor, a classifier that learnt from the human maps, by its class activation map or by RISE, or a baseline"`
	Ensemble  int    `json:"ensemble" min:"1" doc:"predictors or teachers that differ in their seeds and whose maps are averaged"`
	Batch     int    `json:"batch" min:"1" doc:"images a forward pass"`
	Mirror    bool   `json:"mirror" doc:"average the maps of the image and of its mirror image; not of baselines"`
	RISE      RISE   `json:"rise" doc:"random masks of annotator: teacher-rise"`
}

// Teaches reports whether classifiers draw the maps.
func (a Annotate) Teaches() bool {
	return a.Annotator == "teacher-cam" || a.Annotator == "teacher-rise"
}

// RISE describes the masks through which a teacher sees an image.
type RISE struct {
	Masks int     `json:"masks" min:"1" doc:"masks an image, each a forward pass"`
	Cells int     `json:"cells" min:"1" doc:"cells of a mask along a side"`
	Keep  float64 `json:"keep" above:"0" below:"1" doc:"share of the image that a mask lets through"`
}

// Classifier is the network that every arm trains. Conv, Widths, Blocks and
// Strides describe a residual network of one's own (network: custom).
type Classifier struct {
	Network    string         `json:"network" enum:"resnet18,resnet50,densenet121,inception-v3,xception,resnet-small,custom" doc:"architecture"`
	Stem       ClassifierStem `json:"stem,omitzero" doc:"custom: what comes before the residual blocks"`
	Widths     []int          `json:"widths,omitempty" min:"1" doc:"custom: channels of every stage"`
	Blocks     []int          `json:"blocks,omitempty" min:"1" doc:"custom: residual blocks of every stage"`
	Strides    []int          `json:"strides,omitempty" min:"1" max:"4" doc:"custom: stride of every stage's first block"`
	Size       int            `json:"size" min:"8" max:"2048" doc:"side of the square input in pixels"`
	Resize     string         `json:"resize" enum:"squash,pad" doc:"squash = images fill the square and lose their shape, pad = they keep it between black bars"`
	Pretrained string         `json:"pretrained" doc:"weights to start from, a safetensors or PyTorch file, or predictor = the encoder of the run's own predictor; none if empty"`
	// AllowMissing has a flag of its own, because YAML takes a * at the beginning of a
	// value for something else.
	AllowMissing []string `json:"allow_missing" doc:"patterns, such as layer4.*, of parameters that the weights may lack and of tensors that they may have beyond the network's"`
	CAM          CAM      `json:"cam" doc:"class activation map"`
}

// ClassifierStem is the first convolution of a custom classifier, with the
// max-pooling after it.
type ClassifierStem struct {
	Width  int `json:"width" min:"1" doc:"channels"`
	Kernel int `json:"kernel" min:"1" doc:"side of the kernel, odd"`
	Stride int `json:"stride" min:"1" max:"4" doc:"step between windows"`
	Pool   int `json:"pool" min:"0" max:"3" doc:"window of the max-pooling of stride 2 after it: 2 or 3, 0 = none"`
}

// CAM chooses the class activation map that guidance compares.
type CAM struct {
	Class    string `json:"class" enum:"true,predicted,difference" doc:"whose row of the last layer weighs the features; difference = the true class's less the mean of the others'"`
	Features string `json:"features" enum:"pool_input,reference" doc:"pool_input = the tensor that the average pooling sees, reference = the one that CYBORG's published code takes"`
}

// Train is the training of the classifiers.
type Train struct {
	Arms          []string  `json:"arms" enum:"none,human,predicted,combined,full,human_small,none_small,shuffled,mean,inverted" doc:"ways of training to compare"`
	Seeds         int       `json:"seeds" min:"1" doc:"paired runs an arm"`
	Alpha         float64   `json:"alpha" min:"0" max:"1" doc:"weight of the cross-entropy against guidance, 1 = no guidance"`
	AlphaSchedule string    `json:"alpha_schedule" enum:"fixed,linear,cosine,adaptive" doc:"course of alpha over the training: fixed, or to alpha_end in a straight line or half a cosine wave; adaptive = each step's cross-entropy over the sum of cross-entropy and distance, whatever alpha"`
	AlphaEnd      float64   `json:"alpha_end" min:"0" max:"1" doc:"alpha of the last step, if it is scheduled"`
	Trust         string    `json:"trust" enum:"auto,full" doc:"weight of predicted maps in the guidance: auto = less the less surely and the less far they beat the mean map, full = that of human maps"`
	Guidance      string    `json:"guidance" enum:"mse,bce,kl,cc" doc:"distance between class activation map and saliency map"`
	Entropy       float64   `json:"entropy" min:"0" doc:"weight of the entropy of every image's class activation map, in nats, in all arms: more makes maps focus, 0 = none"`
	Blur          float64   `json:"blur" min:"0" max:"100" doc:"standard deviation, in pixels of the square input, of a blur of training images where the map that guides them is low, 0 = none"`
	Epochs        int       `json:"epochs" min:"0" doc:"passes through the training samples, 0 = as many as make 2560 steps, from pretrained weights 1280, but 20 to 200"`
	Batch         int       `json:"batch" min:"1" doc:"samples a step"`
	Select        string    `json:"select" enum:"auc,accuracy,loss,last" doc:"which epoch is kept: the last, or the best by the validation split, of equals the later"`
	Optimizer     Optimizer `json:"optimizer" doc:"how the weights are changed"`
	Augment       Augment   `json:"augment" doc:"random changes of image and map together"`
}

// Optimizer is an optimiser of torch.optim with its learning-rate schedule.
type Optimizer struct {
	Name        string  `json:"name" enum:"sgd,adam,adamw" doc:"update rule, as in torch.optim"`
	LR          float64 `json:"lr" above:"0" doc:"learning rate, of one-cycle and cosine the highest"`
	Momentum    float64 `json:"momentum" min:"0" below:"1" doc:"sgd: share of the last step that is kept"`
	Nesterov    bool    `json:"nesterov" doc:"sgd: Nesterov's momentum"`
	WeightDecay float64 `json:"weight_decay" min:"0" doc:"L2 penalty; adamw: decoupled"`
	Schedule    string  `json:"schedule" enum:"constant,step,cosine,one-cycle" doc:"course of the learning rate"`
	Warmup      float64 `json:"warmup" min:"0" below:"1" doc:"share of the steps in which the learning rate rises"`
	StepEpochs  int     `json:"step_epochs" min:"0" doc:"step: epochs between two decays"`
	Gamma       float64 `json:"gamma" min:"0" max:"1" doc:"step: factor of a decay"`
}

// Augment are the random changes of a training sample. The zero value is
// none.
type Augment struct {
	Flip       bool    `json:"flip" doc:"mirror left and right"`
	Transpose  bool    `json:"transpose" doc:"swap rows and columns"`
	Zoom       float64 `json:"zoom" min:"0" max:"0.95" doc:"the window onto the image has a side of 1 - zoom to 1 + zoom/4 of the image's: with 0.2 all appears up to 1.25 times as large, and down to 0.95"`
	Shift      float64 `json:"shift" min:"0" below:"1" doc:"largest shift, as a share of the side"`
	Color      float64 `json:"color" min:"0" max:"1" doc:"largest relative change of one colour"`
	Brightness float64 `json:"brightness" min:"0" max:"1" doc:"largest relative change of brightness"`
}

// Evaluate chooses what the result tables are about.
type Evaluate struct {
	Split string `json:"split" enum:"val,test" doc:"split of the printed table"`
}

// Export is one format in which the annotated data set is written.
type Export struct {
	To string `json:"to" enum:"hf-parquet,imagefolder" doc:"format"`
}

// Report is the HTML report.
type Report struct {
	Examples int `json:"examples" min:"0" max:"1000" doc:"images shown with their maps"`
}

// OutDir is the folder for the results.
func (c *Config) OutDir() string {
	if c.Out != "" {
		return c.Out
	}
	return filepath.Join("runs", c.Name)
}

// StoreDir is the folder for intermediate artefacts.
func (c *Config) StoreDir() string {
	if c.Store != "" {
		return c.Store
	}
	return filepath.Join(c.OutDir(), ".store")
}
